// Runs the checks of host/checks.cjs inside the extension host, where a program sees what the extension gives VS Code.
import path from "node:path";
import { inEditor, open, PATIENCE, run, screenshot, step } from "./browser.mjs";

await run("host", async (page) => {
  const checks = path.join(import.meta.dirname, "host");
  let end;
  const ended = new Promise((resolve) => { end = resolve; });
  await page.exposeFunction("codeAutomationExit", (code) => end(code));
  await page.exposeFunction("codeAutomationLog", (_type, values) => {
    step(values.join(" "));
  });
  await open(page, [["extensionDevelopmentPath", inEditor(checks)], ["extensionTestsPath", inEditor(path.join(checks, "checks.cjs"))]]);
  const code = await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 3 * PATIENCE, "no end"))]);
  await screenshot(page, "host");
  if (code !== 0) {
    throw new Error(`the checks ended with ${code}`);
  }
});
