// In a workspace that is not trusted: it is checked, but nothing that lies in it runs, and nothing is built or deployed.
import { existsSync } from "node:fs";

import {
  check, clickInLine, command, notification, palette, restricted, screenshot, squiggles, step, trust, until,
} from "./browser.mjs";

/** Goes through this at a squiggle under the given text, then trusts the workspace. Its own server makes the file M4_RAN. */
export async function untrusted(page, text, within) {
  await restricted(page);
  await squiggles(page).first().waitFor();
  step("not trusted: a squiggle under a policy in conflict");

  const rows = await palette(page, "M4: Show plan");
  await page.locator(".quick-input-widget:visible input").fill(">M4: ");
  await rows.filter({ hasText: "M4: Restart server" }).waitFor();
  const offered = (await rows.allInnerTexts()).map((row) => row.split("\n")[0]).filter((row) => row.startsWith("M4: "));
  step(`not trusted: the palette offers ${offered.join(", ")}`);
  check(offered.sort().join() === "M4: Clear evaluation,M4: Evaluate policy,M4: Restart server,M4: Run tests,M4: Show map,M4: Show plan,M4: Show status", "nothing is offered that builds or deploys");
  await screenshot(page, "01-untrusted");
  await page.keyboard.press("Escape");
  await rows.first().waitFor({ state: "hidden" });

  await clickInLine(page, text, within);
  await command(page, "Source Action...");
  await page.locator(".monaco-editor-overlaymessage", { hasText: "No source actions available" }).waitFor();
  step("not trusted: no artifacts are offered");

  await command(page, "M4: Show plan");
  step(`not trusted: the plan is asked for: ${await notification(page, "the workspace has errors", "02-no-plan", "Show problems")}`);
  await page.locator(".markers-panel").waitFor();
  check((await page.locator('.tab[data-resource-name^="Plan of"]').count()) === 0, "where there is no plan, none is opened");

  check(!existsSync(process.env.M4_RAN), "nothing of the workspace ran");
  await trust(page);
  await until("the workspace's own server runs", () => existsSync(process.env.M4_RAN));
  step("trusted: the workspace's own server takes over");
}
