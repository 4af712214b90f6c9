// What stands around the text in the window: lenses, an evaluation, the map in both themes, the tree, the tests.
import { active, check, clickInLine, command, line, openFile, pick, screenshot, step, until } from "./browser.mjs";

const LENS = ".editor-group-container.active .codelens-decoration";

/** The document inside a webview, told by something in it. */
export async function webview(page, selector) {
  return until(`a webview with ${selector}`, async () => {
    for (const frame of page.frames()) {
      if (await frame.locator(selector).first().isVisible().catch(() => false)) {
        return frame;
      }
    }
    return undefined;
  });
}

async function theme(page, name) {
  await command(page, "Preferences: Color Theme");
  await pick(page, name);
}

/** Goes through the views at a policy of the demo, of which there is no conflict any more. */
export async function views(page) {
  await line(page, "policy payment_canary").first().waitFor();
  for (const text of ["2 paths · proxy at checkoutservice", "Evaluate", "Show artifact"]) {
    await page.locator(LENS).getByText(text, { exact: true }).first().waitFor();
  }
  await screenshot(page, "30-lens");
  step("lenses above the policies, hints beside their calls");

  await clickInLine(page, "policy payment_canary", "payment_canary");
  await command(page, "M4: Evaluate policy");
  await until("a note beside the policy", () => page.evaluate(() => [...document.querySelectorAll(".view-line span")]
    .some((span) => getComputedStyle(span, "::after").content.replaceAll("\u00a0", " ").includes("✓ checkoutservice -> paymentservice"))));
  const panel = await webview(page, "textarea#request");
  check((await panel.locator("body").innerText()).includes("route = { v1: 80%, v2: 20% }"), "what is written");
  await screenshot(page, "31-evaluate");
  const request = panel.locator("textarea#request");
  await request.fill((await request.inputValue()).replace("outside -> ", "loadgenerator -> "));
  await request.press("Enter");
  const denied = await webview(page, "strong:has-text('ended on checkoutservice -> paymentservice')");
  check((await denied.locator("body").innerText()).includes("no_synthetic_charges"), "synthetic load is denied");
  step("evaluated beside the policy and in the panel, and again with another request");
  await command(page, "View: Close Editor");
  await command(page, "M4: Clear evaluation");
  await active(page, "boutique.m4");

  await command(page, "View: Focus Active Editor Group");
  await command(page, "M4: Show map");
  const map = await webview(page, "#list button[aria-pressed=true]");
  check((await map.locator("#details").innerText()).includes("payment_canary"), "the policy at the cursor is selected");
  await screenshot(page, "32-map-light");
  await theme(page, "Dark Modern");
  await until("a dark map", async () => (await map.evaluate(() => getComputedStyle(document.body).backgroundColor)) === "rgb(31, 31, 31)");
  await screenshot(page, "33-map-dark");
  await theme(page, "Light Modern");
  await map.locator("#list button", { hasText: "no_admin" }).click();
  await map.locator("#details .link", { hasText: "no_admin" }).click();
  await active(page, "boutique.m4");
  await page.locator('[id="status.editor.selection"]', { hasText: "Ln 39," }).waitFor();
  await clickInLine(page, "policy read_only_catalogue", "read_only_catalogue");
  await until("the policy at the cursor", async () => (await map.locator("#details").innerText()).includes("read_only_catalogue"));
  step("the map in both themes; from it to the policy, and from the policy to it");

  await page.locator(".statusbar-item", { hasText: "boutique: 4 elements" }).waitFor();
  await command(page, "Explorer: Focus on M4 Meshes View");
  const tree = page.locator(".pane", { hasText: "M4 Meshes" }).locator(".monaco-list-row");
  await tree.filter({ hasText: "checkoutservice" }).first().waitFor();
  await tree.filter({ hasText: "envoy" }).first().waitFor();
  await screenshot(page, "34-meshes");
  step("the tree: meshes, services, elements; the status bar");
  await page.locator(".statusbar-item", { hasText: "boutique: 4 elements" }).click();

  await command(page, "Testing: Focus on Test Explorer View");
  await page.locator(".test-explorer .monaco-list-row", { hasText: "boutique" }).first().waitFor();
  await command(page, "Test: Run All Tests");
  await page.locator(".test-explorer .codicon-testing-passed-icon").first().waitFor();
  await screenshot(page, "35-tests");
  step("the tests in the Test Explorer");
  await command(page, "View: Show Explorer");
  await command(page, "View: Hide Panel");
  await policies(page);
}

/** Shows nothing but the policies of the demo, at those that deal with payments. */
export async function policies(page) {
  await command(page, "View: Close All Editors");
  await openFile(page, "online-boutique", "boutique.m4");
  await command(page, "Go to Line/Column...");
  await page.locator(".quick-input-widget:visible input").fill(":53");
  await page.keyboard.press("Enter");
  await page.locator('[id="status.editor.selection"]', { hasText: "Ln 53," }).waitFor();
  await line(page, "r.SetTimeout(1s)").waitFor();
}
