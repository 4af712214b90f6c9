// Opens the VS Code under test in headless Chromium, and does there what a person does. The variables come from
// test_vscode.py: VSCODE_PORT, M4_TOOLS (where playwright-core is), M4_CHROMIUM, M4_WORKSPACE, M4_FAILURES (a folder for
// the last picture of what failed) and M4_SCREENSHOTS (a folder for pictures of each step, or empty).
//
// Nothing here waits for a time: each step waits for what a person would see before the next. A click or a key goes to
// whatever has the focus or lies on top at that moment, so before it is sent that is waited for too.
import { createRequire } from "node:module";
import path from "node:path";

const { chromium } = createRequire(path.join(process.env.M4_TOOLS, "vscode/"))("playwright-core");

export const workspace = process.env.M4_WORKSPACE;
const origin = `127.0.0.1:${process.env.VSCODE_PORT}`;
const started = performance.now();

/** Long enough for a busy machine; nothing is measured. */
export const PATIENCE = 45_000;

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
      "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
      // Nothing but this machine is asked: the tests are the same without a network.
      "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
  });
  let code = 0;
  let page;
  try {
    page = await browser.newPage({ viewport: { width: 1440, height: 800 } });
    page.setDefaultTimeout(PATIENCE);
    await scenario(page);
    step(`${name}: passed`);
  } catch (error) {
    code = 1;
    step(`${name}: FAILED: ${error.stack}`);
    await page?.screenshot({ path: path.join(process.env.M4_FAILURES, `vscode-${name}-failed.png`) }).catch(() => undefined);
  }
  await browser.close();
  process.exit(code);
}

/** Takes a picture, if pictures are wanted. */
export async function screenshot(page, name) {
  if (process.env.M4_SCREENSHOTS !== "") {
    await page.screenshot({ path: path.join(process.env.M4_SCREENSHOTS, `vscode-${name}.png`), animations: "disabled" });
  }
}

/**
 * Opens the workspace.
 * @param {import("playwright-core").Page} page
 * @param {[string, string][]} payload - what the workbench is told, e.g. `["openFile", …]`
 */
export async function open(page, payload = []) {
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

/** Opens a file from the Explorer, folder by folder; two clicks keep the tab. */
export async function openFile(page, ...steps) {
  const row = (name) => page.locator(".explorer-folders-view .monaco-list-row").filter({ has: page.getByText(name, { exact: true }) });
  for (const name of steps.slice(0, -1)) {
    if ((await row(name).getAttribute("aria-expanded")) === "false") {
      await row(name).click();
    }
  }
  await row(steps.at(-1)).dblclick();
  await active(page, steps.at(-1));
}

/** Waits until a tab is the active one, its editor is drawn, and keys go there. */
export async function active(page, name) {
  await page.locator(`.editor-group-container.active .tab.active[data-resource-name="${name}"]`).waitFor();
  await page.locator(`${EDITOR}.focused .view-line`).first().waitFor();
}

const EDITOR = ".editor-group-container.active .editor-instance .monaco-editor";

/** A line of the active editor by a text in it. */
export function line(page, text) {
  return page.locator(`${EDITOR} .view-line`, { hasText: text });
}

export function squiggles(page) {
  return page.locator(`${EDITOR} .squiggly-error`);
}

/** The text of the active editor as far as it is drawn, without the non-breaking spaces that it is drawn with. */
export async function editorText(page) {
  const lines = await page.locator(`${EDITOR} .view-line`).allTextContents();
  return lines.join("\n").replaceAll("\u00a0", " ");
}

/** Takes the mouse to where nothing is. Where it rests, a hover opens sooner or later, and lies over what comes next. */
async function mouseAway(page) {
  await page.mouse.move(5, 5);
  await page.locator(".monaco-hover:not(.hidden)").first().waitFor({ state: "detached" });
}

/** Puts the cursor into a line, at a text of its own, and waits until it is there and the editor has the focus. */
export async function clickInLine(page, text, within) {
  await mouseAway(page);
  await line(page, text).getByText(within, { exact: true }).first().click();
  await mouseAway(page);
  const number = await line(page, text).evaluate((drawn) => {
    const margin = [...drawn.closest(".monaco-editor").querySelectorAll(".margin-view-overlays > div")];
    return margin.find((here) => here.style.top === drawn.style.top).querySelector(".line-numbers").textContent.trim();
  });
  await page.locator('[id="status.editor.selection"]', { hasText: `Ln ${number},` }).waitFor();
  await page.locator(`${EDITOR}.focused`).waitFor();
}

/** Hovers over a name until its hover shows a text: a hover that opens while something else is drawn is closed again. */
export async function hoverOver(page, lineText, name, expected) {
  const hover = page.locator(".monaco-hover:not(.hidden)", { hasText: expected });
  await until(`a hover with “${expected}”`, async () => {
    await mouseAway(page); // only a mouse that moves opens a hover
    await line(page, lineText).getByText(name, { exact: true }).first().hover();
    return hover.waitFor({ timeout: 3_000 }).then(() => true, () => false);
  });
  return hover;
}

/** Saves the active file, and waits until it is saved. */
export async function save(page, name) {
  const tab = page.locator(`.tab.active[data-resource-name="${name}"]`);
  await tab.and(page.locator(".dirty")).waitFor();
  await page.keyboard.press("Control+S");
  await tab.and(page.locator(":not(.dirty)")).waitFor();
}

/** Opens the command palette, writes into it, and waits for the entry; what else it then has is in the list, too. */
export async function palette(page, text) {
  await page.keyboard.press("F1");
  const input = page.locator(".quick-input-widget:visible input");
  await input.fill(`>${text}`);
  const rows = page.locator(".quick-input-list .monaco-list-row");
  await rows.filter({ has: page.locator(".label-name").getByText(text, { exact: true }) }).first().waitFor();
  return rows;
}

/** Runs a command by its name in the command palette. */
export async function command(page, text) {
  await palette(page, text);
  await pick(page, text);
}

/** Takes an entry of a list that asks, after a picture of it, and waits until the list has taken the answer. */
export async function pick(page, text, picture) {
  const row = page.locator(".quick-input-list .monaco-list-row").filter({ has: page.getByText(text, { exact: true }) }).first();
  await row.waitFor();
  if (picture !== undefined) {
    await screenshot(page, picture);
  }
  await row.click();
  await row.waitFor({ state: "hidden" });
}

/** Waits for a notification, takes its picture, answers it with a button of its own or closes it, and returns its text. */
export async function notification(page, text, picture, button) {
  const toast = page.locator(".notification-toast", { hasText: text }).first();
  await toast.waitFor();
  await screenshot(page, picture);
  const shown = await toast.locator(".notification-list-item-message").first().innerText();
  if (button === undefined) {
    await toast.hover();
    await toast.locator(".codicon-notifications-clear").first().click();
  } else {
    await toast.getByRole("button", { name: button }).click();
  }
  await toast.waitFor({ state: "detached" });
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
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

export function check(condition, what) {
  if (!condition) {
    throw new Error(`not so: ${what}`);
  }
}
