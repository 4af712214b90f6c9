// A workspace that is not trusted: it is checked, but nothing that lies in it runs, and nothing is built or deployed.
import { check, command, inEditor, open, palette, restricted, run, screenshot, step, until, workspace } from "./browser.mjs";

await run("untrusted", async (page) => {
  await open(page, [["openFile", inEditor(`${workspace}/shop.m4`)]]);
  await restricted(page);
  await page.waitForSelector(".monaco-editor .squiggly-error");
  step("the conflict is found");

  await palette(page, "M4: ");
  const rows = page.locator(".quick-input-list .monaco-list-row");
  await rows.filter({ hasText: "M4: Show plan" }).waitFor();
  const offered = await rows.allInnerTexts();
  step(`offered: ${offered.map((row) => row.split("\n")[0]).join(", ")}`);
  for (const forbidden of ["Deploy", "Build", "Undeploy"]) {
    check(!offered.some((row) => row.includes(`M4: ${forbidden}`)), `${forbidden} is not offered`);
  }
  await screenshot(page, "untrusted");
  await page.keyboard.press("Escape");

  await page.locator(".view-line", { hasText: "r.Split" }).click();
  await command(page, "Source Action...");
  await until("no source action", async () =>
    (await page.locator(".monaco-editor-overlaymessage", { hasText: "No source actions available" }).count()) > 0);
  step("no artifacts are offered");

  await command(page, "M4: Show plan");
  await page.waitForSelector('.tab[data-resource-name="Plan of shop.m4"]');
  step("the plan is shown");
});
