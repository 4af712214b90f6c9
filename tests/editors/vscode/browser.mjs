// Opens the VS Code under test in headless Chromium. The variables come from test_vscode.py:
// VSCODE_PORT, M4_TOOLS (where playwright-core is), M4_CHROMIUM, M4_SCREENSHOTS (a folder), M4_WORKSPACE.
import { createRequire } from "node:module";
import path from "node:path";

const { chromium } = createRequire(path.join(process.env.M4_TOOLS, "vscode/"))("playwright-core");

export const workspace = process.env.M4_WORKSPACE;
const origin = `127.0.0.1:${process.env.VSCODE_PORT}`;
const started = performance.now();

/** Long enough for a busy machine; nothing is measured. */
export const PATIENCE = 30_000;

export function step(text) {
  console.log(`${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s  ${text}`);
}

export function inEditor(file) {
  return `vscode-remote://${origin}${file}`;
}

/**
 * Runs a scenario on a page and ends the process with its result; a failure leaves a screenshot.
 * @param {string} name
 * @param {(page: import("playwright-core").Page) => Promise<void>} scenario
 */
export async function run(name, scenario) {
  const browser = await chromium.launch({
    executablePath: process.env.M4_CHROMIUM,
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"],
  });
  let code = 0;
  let page;
  try {
    page = await browser.newPage({ viewport: { width: 1400, height: 860 } });
    page.setDefaultTimeout(PATIENCE);
    // Nothing but this machine is asked: the tests are the same without a network.
    await page.route("**/*", (route) => {
      const url = new URL(route.request().url());
      return url.hostname === "127.0.0.1" || ["data:", "blob:"].includes(url.protocol) ? route.continue() : route.abort();
    });
    await scenario(page);
    step(`${name}: passed`);
  } catch (error) {
    code = 1;
    step(`${name}: FAILED: ${error.stack}`);
    await page?.screenshot({ path: screenshotPath(`${name}-failed`) }).catch(() => undefined);
  }
  await browser.close();
  process.exit(code);
}

function screenshotPath(name) {
  return path.join(process.env.M4_SCREENSHOTS, `vscode-${name}.png`);
}

export function screenshot(page, name) {
  return page.screenshot({ path: screenshotPath(name) });
}

/**
 * Opens the workspace.
 * @param {import("playwright-core").Page} page
 * @param {[string, string][]} payload - what the workbench is told, e.g. `["openFile", …]`
 */
export async function open(page, payload) {
  const query = new URLSearchParams({ folder: workspace, payload: JSON.stringify([["skipWelcome", "true"], ...payload]) });
  await page.goto(`http://${origin}/?${query}`);
}

/** Waits until the window says that the folder, opened for the first time, is not trusted. */
export async function restricted(page) {
  await page.locator(".statusbar-item", { hasText: "Restricted Mode" }).waitFor();
}

/** Trusts the folder, the way that the banner offers. */
export async function trust(page) {
  await restricted(page);
  await page.locator(".part.banner").getByText("Manage", { exact: true }).click();
  await page.locator(".workspace-trust-editor").getByRole("button", { name: "Trust", exact: true }).click();
  await page.locator(".statusbar-item", { hasText: "Restricted Mode" }).waitFor({ state: "detached" });
  await page.locator(".modal-editor-part .codicon-close").first().click();
  await page.locator(".workspace-trust-editor").waitFor({ state: "hidden" });
}

/** The text of the editor, without the non-breaking spaces that it is drawn with. */
export function editorText(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll(".monaco-editor .view-line")].map((line) => line.textContent.replaceAll("\u00a0", " ")).join("\n"));
}

/** Opens the command palette and writes into it. */
export async function palette(page, text) {
  await page.keyboard.press("F1");
  const input = page.locator(".quick-input-widget input");
  await input.waitFor();
  await input.fill(`>${text}`);
}

/** Runs a command by its name in the command palette. */
export async function command(page, text) {
  await palette(page, text);
  await page.locator(".quick-input-list .monaco-list-row", { hasText: text }).first().click();
}

/** Waits for a notification, returns its text and closes it. */
export async function notification(page, text) {
  const toast = page.locator(".notification-toast", { hasText: text }).first();
  await toast.waitFor();
  const shown = await toast.locator(".notification-list-item-message").first().innerText();
  await toast.hover();
  await toast.locator(".codicon-notifications-clear").first().click();
  return shown;
}

/** Waits until a condition holds. */
export async function until(what, condition) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const value = await condition();
    if (value) {
      return value;
    }
    if (Date.now() > end) {
      throw new Error(`never happened: ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export function check(condition, what) {
  if (!condition) {
    throw new Error(`not so: ${what}`);
  }
}
