// The page of `m4 graph show --serve` while requests pass through what is deployed: counts as long as somebody looks and
// they can be had, else words. M4_ADDRESS is where it is, M4_SERVER the process that serves it, M4_UNDEPLOY (program and
// arguments, as JSON) what ends the deployment.
import { execFileSync } from "node:child_process";

import { check, run, screenshot, step, until } from "./browser.mjs";

await run("live", async (page) => {
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  let asked = 0;
  page.on("request", (request) => { asked += request.url().endsWith("/live") ? 1 : 0; });
  const state = page.locator("#live");
  const row = page.locator("#list button", { hasText: "e → f" });
  const counted = async () => /^(?<rate>[\d.,]+)\/s · (?<allowed>[\d,]+) allowed · (?<ended>[\d,]+) ended$/.exec(await row.locator("span").last().innerText())?.groups;
  const flow = () => page.evaluate(() => document.getElementById("map").getAttribute("data-flows"));

  const colors = [];
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.goto(process.env.M4_ADDRESS);
    await until("live counts", async () => (await state.innerText()) === "Live counts");
    const first = await until("requests on their way", async () => {
      const found = await counted();
      return found !== undefined && Number(found.rate) > 0 ? found : undefined;
    });
    await until("more of them", async () => {
      const found = await counted();
      return Number(found.allowed.replace(",", "")) > Number(first.allowed.replace(",", "")) && Number(found.ended.replace(",", "")) > Number(first.ended.replace(",", ""));
    });
    await row.focus();
    await page.keyboard.press("Enter");
    await until("each element's part", async () => /envoy at (e|f)/.test(await page.locator("#counts h3").first().innerText()));
    check(/shut ended [\d,]+ \([\d.]+\/s\)/.test(await page.locator("#counts").innerText()), "what the policy ended");
    const text = await page.locator("#counts").innerText();
    await until("they follow", async () => (await page.locator("#counts").innerText()) !== text);
    check(await row.evaluate((button) => button === document.activeElement), "who has the focus keeps it");
    await until("the line says it, too", async () => /\d\/s\n[\d.]+\/s ended/.test(JSON.parse(await flow())["e → f"] ?? ""));
    colors.push(await page.evaluate(() => getComputedStyle(document.body).getPropertyValue("--ended")));
    await screenshot(page, `40-live-${colorScheme}`);
  }
  check(colors[0] !== colors[1], `light and dark: ${colors.join(" ")}`);
  step("counts of each call, element and policy follow what passes, in both themes");

  const hide = (hidden) => page.evaluate((now) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => now });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  await hide(true);
  await state.waitFor({ state: "hidden" });
  check((await row.count()) === 0, "no counts of what is not asked any more");
  const before = asked;
  await page.waitForTimeout(3_000);
  check(asked === before, "nobody asks for what nobody sees");
  await hide(false);
  await until("counts again", async () => (await counted()) !== undefined && asked > before);
  step("nothing is asked while the page is hidden");

  const [program, ...given] = JSON.parse(process.env.M4_UNDEPLOY);
  execFileSync(program, given);
  await until("its end in words", async () => /^No live counts: (the deployment has ended|nothing is deployed)$/.test(await state.innerText()));
  check((await row.count()) === 0 && (await flow()) === "{}", "no count is left");
  await screenshot(page, "41-live-ended");
  process.kill(Number(process.env.M4_SERVER));
  await until("the server's end in words", async () => (await state.innerText()) === "No live counts: what served this page has ended");
  check(errors.length === 0, errors.join("\n"));
  step("what has ended is said, and no old count is shown");
});
