// The map as a page by itself, in both themes, with the keyboard alone; then one of 500 services.
// M4_PAGE and M4_BIG name the pages.
import { pathToFileURL } from "node:url";

import { check, run, screenshot, step, until } from "./browser.mjs";

await run("map", async (page) => {
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) { errors.push(message.text()); } });
  const map = page.locator("#map");
  const marked = async (text) => (await map.getAttribute("aria-label")).includes(text);
  const rows = page.locator("#list button");
  const backgrounds = [];
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.goto(pathToFileURL(process.env.M4_PAGE).href);
    await rows.first().waitFor();
    backgrounds.push(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
    await page.getByLabel("Find a policy or a service").focus();
    await page.keyboard.type("payment_canary");
    await until("only what is looked for", async () => (await rows.count()) === 2);
    await page.keyboard.press("Tab");
    await page.keyboard.press("ArrowDown"); // from the conflict to the policy
    await until("its paths", () => marked("checkoutservice → paymentservice"));
    check(await marked("frontend → checkoutservice"), "every hop of them");
    check((await page.locator("#details").innerText()).includes("outside → frontend → checkoutservice → paymentservice"), "in words");
    const link = page.locator("#details a").first();
    check((await link.getAttribute("href")).startsWith("vscode://file/"), "a way to the policy");
    await screenshot(page, `20-page-${colorScheme}`);
    await page.keyboard.press("ArrowUp");
    await until("the conflict", async () => (await page.locator("#details .error").innerText()).includes("contradict each other"));
    await map.focus();
    await page.keyboard.press("+");
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("0");
    await page.keyboard.press("Escape");
    await until("nothing is marked", async () => !(await marked("Marked")));
  }
  check(backgrounds[0] !== backgrounds[1], `light and dark: ${backgrounds.join(" ")}`);
  step("the page says and marks what is selected, in both themes, by keyboard");

  await page.goto(pathToFileURL(process.env.M4_BIG).href);
  await until("500 services", async () => (await rows.count()) === 500);
  await map.focus();
  const frames = await page.evaluate(async () => {
    const map = document.getElementById("map");
    const started = performance.now();
    for (let at = 0; at < 40; at++) {
      map.dispatchEvent(new KeyboardEvent("keydown", { key: at % 2 === 0 ? "ArrowLeft" : "ArrowRight" }));
      await new Promise((resolve) => requestAnimationFrame(resolve));
    }
    return 40_000 / (performance.now() - started);
  });
  step(`500 services: ${frames.toFixed(0)} frames a second while it moves`);
  check(frames > 2, "it moves");
  await screenshot(page, "21-page-500");
  check(errors.length === 0, errors.join("\n"));
});
