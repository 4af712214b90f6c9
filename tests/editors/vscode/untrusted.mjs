// A workspace that is not trusted: it is checked, but nothing that lies in it runs, and nothing is built or deployed.
// Once it is trusted, the server that it names takes over.
import { existsSync } from "node:fs";

import {
  active, check, clickInLine, command, inEditor, open, palette, restricted, run, screenshot, squiggles, step, trust, until, workspace,
} from "./browser.mjs";

await run("untrusted", async (page) => {
  await open(page, [["openFile", inEditor(`${workspace}/shop.m4`)]]);
  await restricted(page);
  await squiggles(page).first().waitFor();
  step("the conflict is found");

  const rows = await palette(page, "M4: Show plan");
  await page.locator(".quick-input-widget:visible input").fill(">M4: ");
  await until("all entries of M4", async () => (await rows.filter({ hasText: "M4: Restart server" }).count()) > 0);
  const offered = (await rows.allInnerTexts()).map((row) => row.split("\n")[0]).filter((row) => row.startsWith("M4: "));
  step(`offered: ${offered.join(", ")}`);
  check(offered.sort().join() === "M4: Restart server,M4: Show plan", "nothing is offered that builds or deploys");
  await screenshot(page, "untrusted");
  await page.keyboard.press("Escape");
  await rows.first().waitFor({ state: "hidden" });

  await clickInLine(page, "r.Split", "Split");
  await command(page, "Source Action...");
  await page.locator(".monaco-editor-overlaymessage", { hasText: "No source actions available" }).waitFor();
  step("no artifacts are offered");

  await command(page, "M4: Show plan");
  await active(page, "Plan of shop.m4");
  step("the plan is asked for");
  check(!existsSync(process.env.M4_RAN), "nothing of the workspace ran");

  await trust(page);
  await until("the workspace's own server runs", () => existsSync(process.env.M4_RAN));
  await page.locator('.tab[data-resource-name="shop.m4"]').click();
  await active(page, "shop.m4");
  await squiggles(page).first().waitFor();
  step("the server of the trusted workspace takes over");
});
