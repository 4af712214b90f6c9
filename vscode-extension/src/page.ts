/** Pages of webviews: with the colors of the theme, and no script or style but their own. */

import { randomBytes } from "node:crypto";

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** A text as HTML shows it. */
export function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (letter) => ENTITIES[letter] ?? letter);
}

const STYLE = `
  body { font-family: var(--vscode-font-family); font-size: var(--vscode-font-size); padding: 0 1em; }
  h2, h3 { font-size: 1em; margin: 1em 0 0.3em; }
  p { margin: 0.3em 0; }
  code, textarea { font-family: var(--vscode-editor-font-family); font-size: var(--vscode-editor-font-size); }
  textarea { width: 100%; box-sizing: border-box; resize: vertical; padding: 4px; color: var(--vscode-input-foreground);
    background: var(--vscode-input-background); border: 1px solid var(--vscode-input-border, var(--vscode-widget-border, transparent)); }
  label { display: block; margin: 1em 0 0.3em; }
  button { margin: 0.5em 0; padding: 4px 12px; border: 1px solid var(--vscode-button-border, transparent);
    color: var(--vscode-button-foreground); background: var(--vscode-button-background); cursor: pointer; }
  button:hover { background: var(--vscode-button-hoverBackground); }
  :focus-visible { outline: 1px solid var(--vscode-focusBorder); }
  .quiet { color: var(--vscode-descriptionForeground); }
  .error { color: var(--vscode-errorForeground); }
  .warning { color: var(--vscode-editorWarning-foreground); }`;

/** A page. `body` is HTML, in which every text is escaped. */
export function page(title: string, body: string, script: string): string {
  const nonce = randomBytes(16).toString("hex");
  return `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'nonce-${nonce}'; script-src 'nonce-${nonce}'">
    <title>${escaped(title)}</title><style nonce="${nonce}">${STYLE}</style></head>
    <body>${body}<script nonce="${nonce}">${script}</script></body></html>`;
}
