// The journey of a person in the window, on the application of the demo: sees a conflict and where it comes from, reads
// about it, mends it, writes with completion, plans, builds, deploys. Last, what the window says when the server fails.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

import {
  active, check, clickInLine, command, editorText, hoverOver, line, notification, open, openFile, pick, run, save, screenshot,
  squiggles, step, until, workspace,
} from "./browser.mjs";
import { untrusted } from "./untrusted.mjs";
import { policies, views, webview } from "./views.mjs";

const PATH = "outside -> frontend -> checkoutservice -> paymentservice";
const SPLIT = "v1: 80%, v2: 20%";
const FIX = "Let `payment_canary` override `even_load`";

await run("window", async (page) => {
  await open(page);
  await openFile(page, "online-boutique-conflict", "balance.m4");
  await untrusted(page, "r.Split", "Split");
  await squiggles(page).first().waitFor();
  await clickInLine(page, "r.Split", "Split");
  check((await page.locator('[id="status.editor.mode"]').innerText()) === "M4", "the language in the status bar");
  step("squiggle under a policy in conflict");

  const problems = page.locator(".markers-panel");
  const problem = (place) => problems.locator(".monaco-list-row", { has: page.locator(".marker-message"), hasText: place });
  const boutique = path.join(workspace, "online-boutique/boutique.m4");
  const placeOf = (text) => `[Ln ${readFileSync(boutique, "utf8").split("\n").findIndex((found) => found.includes(text)) + 1}, `;
  for (const place of ["[Ln 11, ", placeOf(SPLIT)]) {
    const message = await problem(place).locator(".marker-message").innerText();
    check(message.includes(`\`even_load\` and \`payment_canary\` contradict each other on ${PATH}`), message);
  }
  await problems.getByText("`even_load` writes route = { v1: 50%, v2: 50% }", { exact: true }).waitFor();
  step("Problems: both policies, with the witness, each with the other");
  await screenshot(page, "03-problems");

  await problem(placeOf(SPLIT)).locator(".marker-message").click();
  await page.locator('.tab.active[data-resource-name="boutique.m4"]').waitFor();
  await squiggles(page).first().waitFor();
  const coloured = (text, within) => line(page, text).getByText(within, { exact: true }).first().getAttribute("class");
  check((await coloured("policy payment_canary", "policy")) !== (await coloured("policy payment_canary", "payment_canary")), "colours");
  await hoverOver(page, "policy payment_canary", "payment_canary", "The new payment gateway gets a fifth of the charges.");
  await hoverOver(page, "policy payment_canary", "payment_canary", PATH);
  step("hover: what the policy says of itself, and its call paths");
  await screenshot(page, "04-hover");
  const conflict = await hoverOver(page, SPLIT, "Split", `contradict each other on ${PATH}`);
  check((await conflict.innerText()).includes("Spreads requests over the versions of the callee"), "the operation is explained");
  step("hover: the conflict, where the other policy is, and what the operation does");
  await screenshot(page, "05-hover-conflict");
  await clickInLine(page, SPLIT, "Split");

  await page.locator(".lightBulbWidget:visible, .codicon-gutter-lightbulb:visible").first().click();
  const menu = page.locator(".action-widget .monaco-list-row");
  const fix = menu.filter({ has: page.getByText(FIX, { exact: true }) });
  await fix.waitFor();
  await menu.filter({ hasText: "Emit sidecar artifacts" }).waitFor();
  step(`the lightbulb offers: ${(await menu.allInnerTexts()).map((text) => text.trim()).join(", ")}`);
  await screenshot(page, "06-quick-fix");
  await fix.click();
  await until("the fix in the text", async () => (await editorText(page)).includes("overrides even_load"));
  await save(page, "boutique.m4");
  check(readFileSync(boutique, "utf8").includes("overrides even_load"), "the fix is saved");
  await problems.locator(".marker-icon.error").first().waitFor({ state: "detached" });
  await squiggles(page).first().waitFor({ state: "detached" });
  step("quick fix applied and saved, the conflict is gone");
  await screenshot(page, "07-fixed");
  await page.keyboard.press("Control+J"); // closes the panel
  await problems.waitFor({ state: "hidden" });

  await views(page);

  await clickInLine(page, "r.SetTimeout(1s)", "SetTimeout");
  await page.keyboard.press("End");
  await page.keyboard.press("Enter");
  await page.keyboard.type("r.Set");
  const proposal = (name) => page.locator(`.suggest-widget.visible .monaco-list-row[aria-label*="${name}"]`);
  await proposal("SetTimeout").waitFor();
  await page.keyboard.type("Head");
  await proposal("SetHeader").and(page.locator(".focused")).waitFor();
  const documentation = page.locator(".suggest-details:visible", { hasText: "Sets a header field on this hop, in place of what it was." });
  await until("the documentation of the operation", async () => {
    await page.keyboard.press("Control+Space"); // shows the documentation, and hides it if it was shown
    return documentation.waitFor({ timeout: 3_000 }).then(() => true, () => false);
  });
  step("completion: what the specs define, with its documentation");
  await screenshot(page, "08-completion");
  await page.keyboard.press("Enter");
  await until("the operation in the text", async () => (await editorText(page)).includes(`r.SetHeader("name", "value");`));
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+Shift+K"); // deletes the line
  await until("the line is gone", async () => !(await editorText(page)).includes(`r.SetHeader("name", "value");`));
  await save(page, "boutique.m4");

  await command(page, "M4: Show plan");
  await active(page, "Plan of boutique.m4");
  await until("the plan", async () => (await editorText(page)).includes("proven optimal"));
  await screenshot(page, "09-plan");
  await page.keyboard.type("x");
  await page.locator(".monaco-editor-overlaymessage", { hasText: "read-only" }).waitFor();
  step("M4: Show plan: read-only, beside the policies");
  await page.keyboard.press("Escape");
  await command(page, "View: Close Editor");
  await active(page, "boutique.m4");

  await command(page, "M4: Build artifacts");
  step(`M4: Build artifacts: ${await notification(page, "M4: wrote", "10-built", "Open…")}`);
  await pick(page, "envoy/checkoutservice/envoy.yaml", "11-artifacts");
  await active(page, "envoy.yaml");
  await line(page, "static_resources").first().waitFor();
  step("a built artifact is opened");
  await command(page, "View: Close Editor");
  await active(page, "boutique.m4");

  const report = (text) => page.locator(".part.panel .view-line", { hasText: text }).waitFor();
  const out = path.join(workspace, "out");
  await command(page, "M4: Deploy");
  await notification(page, "where to deploy mesh", "12-where", `Into ${out}`);
  const question = await notification(page, "deploy mesh `boutique` into", "13-what-if", "Show differences");
  check(/artifacts: \d+ new/.test(question), question);
  await active(page, "boutique.diff");
  await until("the plan in what would change", async () => (await editorText(page)).includes("proven optimal"));
  await screenshot(page, "13-differences");
  check(!existsSync(out), "nothing is changed before it is confirmed");
  await notification(page, "deploy mesh `boutique` into", "13-again", "Deploy");
  step(`M4: Deploy: ${await notification(page, "is deployed to `directory`", "13-in-folder")}`);
  await report("The artifacts are in");
  check(existsSync(path.join(out, "manifest.json")), "the artifacts are in the folder");
  await command(page, "View: Close Editor");
  await active(page, "boutique.m4");
  await command(page, "View: Clear Output"); // which names the folder

  await command(page, "M4: Deploy");
  await notification(page, "where to deploy mesh", "12-where", "On this machine");
  await notification(page, "deploy mesh `boutique` on this machine", "14-what-if", "Deploy");
  await report("frontend takes requests at http://127.0.0.1:");
  step(`M4: Deploy: ${await notification(page, "is deployed to `local`", "14-deployed")}`);
  await command(page, "M4: Show map");
  const map = await webview(page, "#live:not([hidden])");
  await until("live counts", async () => (await map.locator("#live").innerText()) === "Live counts");
  await map.locator("#list button", { hasText: "outside → frontend" }).waitFor();
  step("the map shows live counts of what is deployed");
  await screenshot(page, "15-map-live");
  await command(page, "M4: Undeploy");
  await until("that there are none any more", async () => /^No live counts: (the deployment has ended|nothing is deployed)$/.test(await map.locator("#live").innerText()));
  step(`M4: Undeploy: ${await notification(page, "is stopped", "15-stopped")}`);
  await policies(page);

  // A server that is not there, one that ends at once, and one that never answers; then the setting is right again.
  const settings = path.join(workspace, ".vscode/settings.json");
  const right = readFileSync(settings);
  const setting = (program) => { writeFileSync(settings, JSON.stringify({ "m4.server.path": program })); };
  setting("/nowhere/m4ls");
  const missing = await notification(page, "names no program", "16-missing");
  check(missing.includes("/nowhere/m4ls"), missing);
  setting("/nowhere/else/m4ls");
  check((await notification(page, "names no program", "16-missing")).includes("/nowhere/else/m4ls"), "another one is told, too");
  step(`a missing server: ${missing}`);
  setting("/bin/false");
  step(`a broken server: ${await notification(page, "did not start", "17-broken")}`);
  setting(process.env.M4_SILENT);
  await until("the silent server runs", () => existsSync(`${process.env.M4_SILENT}.runs`));
  writeFileSync(settings, right);
  await hoverOver(page, "policy payment_canary", "payment_canary", "The new payment gateway gets a fifth of the charges.");
  step("a server that never answers is given up for the right one");
});
