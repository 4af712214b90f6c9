/** Evaluate: what a request gets, beside the policies that it meets and in a panel where the request can be changed. */

import * as vscode from "vscode";

import { escaped, page } from "./page";
import type { Server } from "./server";

interface Hop {
  readonly hop: readonly [string, string];
  readonly entity: string;
  readonly fired: readonly string[];
  readonly dropped: readonly string[];
  readonly writes: Readonly<Record<string, string | null>>;
  readonly carried: Readonly<Record<string, string | null>>;
  readonly contradictions: readonly string[];
  readonly carriers: readonly Hop[];
  readonly ran: readonly { readonly policy: string; readonly operation: string; readonly service: string; readonly dataplane: string; readonly side: string }[];
}

/** The answer of `m4.evaluate`. */
interface Evaluated {
  readonly policy: string;
  readonly request: string;
  readonly outcome: string;
  readonly hops: readonly Hop[];
  readonly answers: readonly Hop[];
  readonly left_out: readonly string[];
  readonly notes: readonly Note[];
}

interface Note {
  readonly policy: string;
  readonly uri: string;
  readonly range: { readonly start: { readonly line: number; readonly character: number } };
  readonly text: string;
  readonly fired: boolean;
}

/** How long nothing is typed before what is shown is evaluated again, in milliseconds. */
const PAUSE = 400;

export class Evaluations implements vscode.Disposable {
  private readonly fired = decoration("charts.green");
  private readonly idle = decoration("descriptionForeground");
  private panel: vscode.WebviewPanel | undefined;
  /** What is shown: the file that it was asked in, and the answer. */
  private shown: { readonly uri: string; found: Evaluated } | undefined;
  private waiting: NodeJS.Timeout | undefined;
  private readonly listening: vscode.Disposable;

  constructor(
    private readonly server: Server,
    private readonly memory: vscode.Memento,
  ) {
    this.listening = vscode.Disposable.from(
      vscode.window.onDidChangeVisibleTextEditors(() => { this.draw(); }),
      vscode.workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        if (this.shown !== undefined && document.languageId === "m4" && contentChanges.length > 0) {
          clearTimeout(this.waiting);
          this.waiting = setTimeout(() => void this.again(), PAUSE);
        }
      }),
    );
  }

  /** Evaluates for a policy; the request is the one that was last evaluated for it, unless it is given. */
  async run(target: vscode.Uri, policy?: string, request?: string): Promise<Evaluated | undefined> {
    const uri = target.toString();
    const about = policy ?? (await policyAtCursor(target));
    if (about === undefined && request === undefined) {
      void vscode.window.showWarningMessage("M4: put the cursor into a policy first.");
      return undefined;
    }
    const known = request ?? this.memory.get<string>(key(about ?? ""));
    let found: Evaluated | undefined;
    if (known !== undefined && request === undefined) {
      found = await this.quietly(uri, about, known); // it may name what is no more
    }
    found ??= await this.server.ask<Evaluated>("m4.evaluate", uri, about, request);
    if (found !== undefined) {
      await this.memory.update(key(found.policy), found.request);
      this.shown = { uri, found };
      this.show();
    }
    return found;
  }

  clear(): void {
    this.shown = undefined;
    this.draw();
  }

  dispose(): void {
    clearTimeout(this.waiting);
    this.listening.dispose();
    this.panel?.dispose();
    this.fired.dispose();
    this.idle.dispose();
  }

  private async quietly(uri: string, policy: string | undefined, request: string): Promise<Evaluated | undefined> {
    return this.server.execute<Evaluated>("m4.evaluate", uri, policy, request).catch(() => undefined);
  }

  /** After an edit: the same request, for which the text may be broken just now. */
  private async again(): Promise<void> {
    const shown = this.shown;
    if (shown === undefined) {
      return;
    }
    const found = await this.quietly(shown.uri, shown.found.policy, shown.found.request);
    if (found !== undefined && this.shown === shown) {
      this.shown.found = found;
      this.show();
    }
  }

  private show(): void {
    this.draw();
    const found = this.shown?.found;
    if (found === undefined) {
      return;
    }
    if (this.panel === undefined) {
      this.panel = vscode.window.createWebviewPanel(
        "m4.evaluate",
        "M4: Evaluate",
        { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true },
        { enableScripts: true, localResourceRoots: [] },
      );
      this.panel.onDidDispose(() => {
        this.panel = undefined;
        this.clear();
      });
      this.panel.webview.onDidReceiveMessage(async (message: { request: string }) => {
        if (this.shown !== undefined) {
          await this.run(vscode.Uri.parse(this.shown.uri), this.shown.found.policy, message.request);
        }
      });
    }
    this.panel.webview.html = page("M4: Evaluate", body(found), SCRIPT);
  }

  /** Notes at the end of the lines on which the names of policies stand, in every editor that shows one. */
  private draw(): void {
    for (const editor of vscode.window.visibleTextEditors) {
      const here = (this.shown?.found.notes ?? []).filter((note) => vscode.Uri.parse(note.uri).toString() === editor.document.uri.toString());
      const drawn = (fired: boolean): vscode.DecorationOptions[] =>
        here.filter((note) => note.fired === fired).map((note) => ({
          range: editor.document.lineAt(Math.min(note.range.start.line, editor.document.lineCount - 1)).range,
          renderOptions: { after: { contentText: `${fired ? "✓" : "✗"} ${note.text}` } },
        }));
      editor.setDecorations(this.fired, drawn(true));
      editor.setDecorations(this.idle, drawn(false));
    }
  }
}

function decoration(color: string): vscode.TextEditorDecorationType {
  return vscode.window.createTextEditorDecorationType({
    after: { margin: "0 0 0 2em", color: new vscode.ThemeColor(color), fontStyle: "italic" },
    rangeBehavior: vscode.DecorationRangeBehavior.ClosedClosed,
  });
}

const key = (policy: string): string => `request of ${policy}`;

/** The editor of an M4 file that is at work, else one that is shown: the palette and panels take the focus away. */
export function editing(): vscode.TextEditor | undefined {
  const shown = [vscode.window.activeTextEditor, ...vscode.window.visibleTextEditors];
  return shown.find((editor) => editor?.document.languageId === "m4");
}

/** The policy around the cursor, if the file is being edited. */
export async function policyAtCursor(uri: vscode.Uri): Promise<string | undefined> {
  const editor = editing();
  if (editor?.document.uri.toString() !== uri.toString()) {
    return undefined;
  }
  const symbols = await vscode.commands.executeCommand<vscode.DocumentSymbol[] | undefined>("vscode.executeDocumentSymbolProvider", uri);
  const around = symbols?.find((symbol) => symbol.kind === vscode.SymbolKind.Function && symbol.range.contains(editor.selection.active));
  return around?.name;
}

const SCRIPT = `
  const api = acquireVsCodeApi();
  document.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    api.postMessage({ request: document.querySelector("textarea").value });
  });
  document.querySelector("textarea").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      document.querySelector("form").requestSubmit();
    }
  });`;

function body(found: Evaluated): string {
  const left = found.left_out.map((name) => `<p class="warning">${escaped(name)} has errors and is left out</p>`).join("");
  return `<form><label for="request">Request</label>
    <textarea id="request" rows="3" spellcheck="false">${escaped(found.request)}</textarea>
    <button>Evaluate</button></form>${left}
    <p><strong>${escaped(found.outcome)}</strong></p>
    <ol>${found.hops.map((hop) => `<li>${described(hop)}</li>`).join("")}</ol>
    ${found.answers.length === 0 ? "" : `<h2>On the way back</h2><ol>${found.answers.map((hop) => `<li>${described(hop)}</li>`).join("")}</ol>`}`;
}

function described(hop: Hop): string {
  const rows = (from: Readonly<Record<string, string | null>>, sign: string): string =>
    Object.entries(from).map(([name, value]) => `<li><code>${sign} ${escaped(name)} = ${escaped(value ?? "absent")}</code></li>`).join("");
  const ran = hop.ran.map((place) => `<li>${escaped(place.policy)}: ${escaped(place.operation)} by ${escaped(place.dataplane)} at ${escaped(place.side)} of ${escaped(place.service)}</li>`).join("");
  const dropped = hop.dropped.map((what) => `<li><s>${escaped(what)}</s> is overridden</li>`).join("");
  const clash = hop.contradictions.map((attribute) => `<li class="error">policies contradict each other about ${escaped(attribute)}</li>`).join("");
  const under = hop.carriers.map((carrier) => `<h3>${escaped(carrier.entity)}</h3>${described(carrier)}`).join("");
  const fired = hop.fired.length === 0 ? `<span class="quiet">no policy fires</span>` : hop.fired.map((name) => `<b>${escaped(name)}</b>`).join(", ");
  return `${under}<h3>${escaped(hop.hop.join(" → "))}</h3><p>${fired}</p><ul>${rows(hop.carried, "…")}${dropped}${clash}${ran}${rows(hop.writes, "→")}</ul>`;
}
