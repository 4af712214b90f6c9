// What a person does in the window: sees a conflict, reads about it, fixes it, completes, plans, builds, deploys.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";

import { check, command, editorText, inEditor, notification, open, run, screenshot, step, trust, until, workspace } from "./browser.mjs";

await run("window", async (page) => {
  await open(page, [["openFile", inEditor(`${workspace}/shop.m4`)]]);
  await trust(page);
  await page.waitForSelector('.tab[data-resource-name="shop.m4"]');
  await page.waitForSelector(".monaco-editor .squiggly-error");
  step("squiggle under a policy in conflict");

  check((await page.locator('[id="status.editor.mode"]').innerText()) === "M4", "the language in the status bar");
  const keyword = await page.locator(".view-line", { hasText: "policy" }).locator("span span").first().getAttribute("class");
  const plain = await page.locator(".view-line", { hasText: "dataplanes" }).locator("span span").last().getAttribute("class");
  check(keyword !== plain, `keywords are coloured: ${keyword}, ${plain}`);

  await page.keyboard.press("Control+Shift+M");
  const problems = page.locator(".markers-panel");
  await until("both policies in the Problems panel", async () => {
    const text = await problems.innerText().catch(() => "");
    return text.includes("shop.m4") && text.includes("even.m4") && text.includes("e -> f");
  });
  step("Problems panel: both policies, with the witness");
  await screenshot(page, "problems");
  await page.keyboard.press("Control+J"); // closes the panel
  await problems.waitFor({ state: "hidden" });

  const name = page.locator(".view-line", { hasText: "send_some" }).getByText("send_some", { exact: true }).first();
  await name.hover();
  const hover = page.locator(".monaco-hover:not(.hidden)", { hasText: "A fifth of what e sends to f tries the new version." });
  await hover.waitFor();
  step("hover");
  await screenshot(page, "hover");

  await page.locator(".view-line", { hasText: "r.Split" }).getByText("Split", { exact: true }).click();
  await hover.waitFor({ state: "hidden" });
  await page.keyboard.press("Control+.");
  const fix = page.locator(".action-widget .monaco-list-row", { hasText: /^Let .send_some. override .even.$/ }).first();
  await fix.waitFor();
  step(`quick fix offered: ${(await fix.innerText()).trim()}`);
  await screenshot(page, "quick-fix");
  await fix.click();
  await until("the quick fix in the text", async () => (await editorText(page)).includes("overrides even"));
  await page.waitForFunction(() => document.querySelector(".squiggly-error") === null);
  step("quick fix applied, squiggle gone");

  await page.locator(".view-line", { hasText: "r.Split" }).click();
  await page.keyboard.press("End");
  await page.keyboard.press("Enter");
  await page.keyboard.type("r.Se", { delay: 40 });
  await page.waitForSelector('.suggest-widget.visible .monaco-list-row[aria-label*="SetHeader"]');
  step("completion");
  await screenshot(page, "completion");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+Shift+K"); // delete the line
  await page.keyboard.press("Control+S");

  await page.locator(".view-line", { hasText: "r.Split" }).click();
  await command(page, "Source Action...");
  const actions = page.locator(".action-widget .monaco-list-row");
  await actions.filter({ hasText: "Emit sidecar artifacts" }).waitFor();
  await actions.filter({ hasText: "Emit eBPF artifacts" }).waitFor();
  await screenshot(page, "emit");
  await page.keyboard.press("Escape");
  step("Emit … artifacts offered");

  await command(page, "M4: Show plan");
  await page.waitForSelector('.tab[data-resource-name="Plan of shop.m4"]');
  await until("the plan", async () => (await editorText(page)).includes("envoy"));
  step("M4: Show plan");
  await screenshot(page, "plan");
  await page.keyboard.type("x");
  await page.waitForSelector(".monaco-editor-overlaymessage");
  step("the plan is read-only");
  await page.keyboard.press("Escape");
  await command(page, "View: Close Editor"); // by keyboard: the message may lie over the tab

  await page.locator('.tab[data-resource-name="shop.m4"]').click();
  await command(page, "M4: Build artifacts");
  step(`M4: Build artifacts: ${await notification(page, "M4: wrote")}`);

  await command(page, "M4: Deploy");
  const deployed = await notification(page, "is deployed");
  step(`M4: Deploy: ${deployed}`);
  await screenshot(page, "deploy");
  await command(page, "M4: Undeploy");
  step(`M4: Undeploy: ${await notification(page, "is stopped")}`);

  mkdirSync(`${workspace}/.vscode`);
  writeFileSync(`${workspace}/.vscode/settings.json`, '{"m4.server.path": "/nowhere/m4ls"}');
  const said = await notification(page, "No M4 language server found");
  check(said.includes("/nowhere/m4ls") && said.includes("pip install xmesh"), said);
  rmSync(`${workspace}/.vscode/settings.json`);
  await until("the server again", async () => {
    await name.hover();
    return (await hover.count()) > 0;
  });
  step("a missing server is reported, and one that comes back is used");
});
