/** How a map looks, light and dark: with the colors of the theme in VS Code, with its own elsewhere. */

import type { EdgeSingular, StylesheetJson } from "cytoscape";

export const STYLE = `
  :root { color-scheme: light dark; --text: #1f2328; --quiet: #59636e; --ground: #ffffff; --line: #d1d9e0; --box: #f6f8fa;
    --proxy: #0969da; --kernel: #bc4c00; --both: #8250df; --picked: #1a7f37; --error: #cf222e; --allowed: #0a7d8c; --ended: #bf3989; --focus: #0969da; }
  @media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --quiet: #9198a1; --ground: #0d1117; --line: #3d444d;
    --box: #151b23; --proxy: #4493f8; --kernel: #f0883e; --both: #ab7df8; --picked: #3fb950; --error: #f85149; --allowed: #39c5cf; --ended: #f778ba; --focus: #4493f8; } }
  body.vscode-light, body.vscode-high-contrast-light { color-scheme: light; --text: var(--vscode-editor-foreground, #1f2328); --quiet: var(--vscode-descriptionForeground, #59636e);
    --ground: var(--vscode-editor-background, #ffffff); --line: #c4cbd2; --box: var(--vscode-editorWidget-background, #f6f8fa);
    --proxy: #0969da; --kernel: #bc4c00; --both: #8250df; --picked: #1a7f37; --error: #cf222e; --allowed: #0a7d8c; --ended: #bf3989; --focus: var(--vscode-focusBorder, #0969da); }
  body.vscode-dark, body.vscode-high-contrast { color-scheme: dark; --text: var(--vscode-editor-foreground, #e6edf3); --quiet: var(--vscode-descriptionForeground, #9198a1);
    --ground: var(--vscode-editor-background, #0d1117); --line: #565f69; --box: var(--vscode-editorWidget-background, #151b23);
    --proxy: #4493f8; --kernel: #f0883e; --both: #ab7df8; --picked: #3fb950; --error: #f85149; --allowed: #39c5cf; --ended: #f778ba; --focus: var(--vscode-focusBorder, #4493f8); }
  html, body { height: 100%; }
  body { margin: 0; padding: 0; display: grid; grid-template-columns: 1fr minmax(200px, 26%); color: var(--text); background: var(--ground);
    font: 13px var(--vscode-font-family, system-ui, sans-serif); }
  #map { position: relative; min-width: 0; min-height: 0; height: 100%; overflow: hidden; }
  #map:focus-visible, button:focus-visible, a:focus-visible, input:focus-visible, select:focus-visible { outline: 2px solid var(--focus); outline-offset: -2px; }
  aside { display: flex; flex-direction: column; gap: 6px; padding: 10px; overflow: hidden; border-left: 1px solid var(--line); background: var(--box); height: 100vh; box-sizing: border-box; }
  input, select { font: inherit; color: inherit; background: var(--ground); border: 1px solid var(--line); border-radius: 4px; padding: 4px 6px; }
  h2 { font-size: 1em; margin: 6px 0 2px; overflow-wrap: anywhere; } h3 { font-size: 1em; font-weight: 600; margin: 6px 0 0; }
  p { margin: 0; overflow-wrap: anywhere; } ul { margin: 2px 0; padding-left: 16px; } li { overflow-wrap: anywhere; }
  a, .link { font: inherit; text-align: left; padding: 0; border: 0; background: none; cursor: pointer; color: inherit; text-decoration: underline; text-decoration-color: var(--quiet); }
  #details { max-height: 45%; overflow: auto; border-top: 1px solid var(--line); } #counts { max-height: 30%; overflow: auto; flex-shrink: 0; font-variant-numeric: tabular-nums; }
  #live[hidden] { display: none; } #live::before { content: "● "; color: var(--allowed); } #live.error::before { color: inherit; }
  #legend { display: flex; flex-wrap: wrap; gap: 2px 12px; } #legend span { white-space: nowrap; } #legend[hidden] { display: none; } #legend span::before { content: ""; display: inline-block; width: 10px; height: 10px; margin-right: 4px; border: 3px solid currentColor; border-radius: 3px; box-sizing: border-box; }
  #legend .proxy { color: var(--proxy); } #legend .kernel { color: var(--kernel); } #legend .both { color: var(--both); } #legend .conflict { color: var(--error); }
  #legend .allowed, #legend .ended { display: none; } #legend.counted .allowed, #legend.counted .ended { display: inline; } #legend .allowed::before, #legend .ended::before { height: 5px; border-width: 2.5px; border-radius: 0; vertical-align: middle; }
  #legend .allowed { color: var(--allowed); } #legend .ended { color: var(--ended); }
  #list { overflow: auto; flex: 1; }
  #list button { display: flex; justify-content: space-between; gap: 8px; width: 100%; text-align: left; font: inherit; color: inherit; background: none; border: 0; border-radius: 4px; padding: 3px 6px; cursor: pointer; }
  #list button span:first-child { overflow: hidden; text-overflow: ellipsis; } #list button span:last-child { white-space: nowrap; }
  #list button:hover, #list button[aria-pressed="true"] { background: color-mix(in srgb, var(--focus) 20%, transparent); }
  .quiet { color: var(--quiet); } .error, #list button.error span:first-child { color: var(--error); }`;

export type Colors = Readonly<Record<"text" | "quiet" | "ground" | "line" | "box" | "proxy" | "kernel" | "both" | "picked" | "error" | "allowed" | "ended", string>>;

/** The colors as they are now. */
export function colors(): Colors {
  const of = getComputedStyle(document.body);
  const one = (name: string): string => of.getPropertyValue(`--${name}`).trim();
  return {
    text: one("text"), quiet: one("quiet"), ground: one("ground"), line: one("line"), box: one("box"),
    proxy: one("proxy"), kernel: one("kernel"), both: one("both"), picked: one("picked"), error: one("error"), allowed: one("allowed"), ended: one("ended"),
  };
}

export function stylesheet(color: Colors): StylesheetJson {
  return [
    { selector: "node", style: {
      label: "data(label)", shape: "round-rectangle", width: "data(width)", height: "data(height)", "text-valign": "center", "text-halign": "center",
      "text-wrap": "wrap", "font-size": "12px", color: color.text, "background-color": color.box, "border-width": 1.5, "border-color": color.line, "min-zoomed-font-size": 6,
    } },
    { selector: 'node[tier = "proxy"]', style: { "border-color": color.proxy, "border-width": 3 } },
    { selector: 'node[tier = "kernel"]', style: { "border-color": color.kernel, "border-width": 3 } },
    { selector: 'node[tier = "kernel proxy"]', style: { "border-color": color.both, "border-width": 3 } },
    { selector: "node.external", style: { "border-style": "dashed" } },
    { selector: "node.entry", style: { "border-style": "double", "border-width": 4 } },
    { selector: "edge", style: {
      width: 1.5, "line-color": color.line, "target-arrow-color": color.line, "target-arrow-shape": "triangle", "curve-style": "bezier", "arrow-scale": 0.9,
    } },
    // What comes is as wide as it is much, and changes its color where what does not go on is left out.
    { selector: "edge[flow]", style: {
      width: "data(width)", label: "data(flow)", "text-wrap": "wrap", "font-size": "11px", color: color.text, "text-background-color": color.ground, "text-background-opacity": 0.6, "text-background-padding": "1px", "text-margin-y": -10, "min-zoomed-font-size": 6,
      "line-fill": "linear-gradient", "line-gradient-stop-colors": [color.allowed, color.allowed, color.ended, color.ended],
      "line-gradient-stop-positions": (edge: EdgeSingular) => [0, edge.data("passing") as number, edge.data("passing") as number, 100],
      "target-arrow-color": color.allowed, "arrow-scale": 0.7,
    } },
    { selector: "edge[passing < 100]", style: { "target-arrow-color": color.ended } },
    { selector: "edge.conflict", style: { "line-color": color.error, "target-arrow-color": color.error, "line-fill": "solid", width: 3 } },
    { selector: ".dimmed", style: { opacity: 0.4 } },
    { selector: "edge.picked", style: { "line-color": color.picked, "target-arrow-color": color.picked, "line-fill": "solid", width: 3.5 } },
    { selector: "edge.picked[flow]", style: { "line-fill": "linear-gradient", width: "data(width)" } },
    { selector: "edge.picked.conflict", style: { "line-color": color.error, "target-arrow-color": color.error } },
    { selector: "node.picked", style: { "border-color": color.picked, "border-width": 3.5 } },
  ];
}
