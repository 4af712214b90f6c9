/** Previews: what a policy becomes, in read-only documents that follow the edit, with the way back to its lines. */

import * as vscode from "vscode";

import { policyAtCursor } from "./evaluate";
import type { Server } from "./server";

const SCHEME = "m4-artifact";

/** How long nothing is typed before what is shown is asked for again, in milliseconds. */
const PAUSE = 400;

interface Range {
  readonly start: { readonly line: number; readonly character: number };
}

interface Part {
  readonly start: number;
  readonly end: number;
  readonly policy: string;
  readonly operation: string;
  readonly source: { readonly uri: string; readonly range: Range };
}

interface Artifact {
  readonly path: string;
  readonly dataplane: string;
  readonly service: string;
  readonly kind: string;
  readonly text: string;
  readonly parts: readonly Part[];
}

/** The answer of `m4.preview`. */
interface Previewed {
  readonly policy: string;
  readonly artifacts: readonly Artifact[];
}

/** A document's URI says what it shows: its path the artifact, its query the file and the policy. */
function uriOf(file: string, policy: string, artifact: Artifact): vscode.Uri {
  return vscode.Uri.from({ scheme: SCHEME, path: `/${artifact.path}`, query: JSON.stringify([file, policy]) });
}

export class Previews implements vscode.TextDocumentContentProvider, vscode.CodeLensProvider, vscode.DocumentLinkProvider {
  private readonly changed = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.changed.event;
  private readonly redrawn = new vscode.EventEmitter<void>();
  readonly onDidChangeCodeLenses = this.redrawn.event;
  private readonly shown = new Map<string, Artifact>();
  private waiting: NodeJS.Timeout | undefined;

  constructor(private readonly server: Server) {}

  register(): vscode.Disposable {
    return vscode.Disposable.from(
      this.changed,
      this.redrawn,
      vscode.workspace.registerTextDocumentContentProvider(SCHEME, this),
      vscode.languages.registerCodeLensProvider({ scheme: SCHEME }, this),
      vscode.languages.registerDocumentLinkProvider({ scheme: SCHEME }, this),
      vscode.workspace.onDidCloseTextDocument(({ uri }) => this.shown.delete(uri.toString())),
      vscode.workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        if (this.shown.size > 0 && document.uri.scheme === "file" && contentChanges.length > 0) {
          this.soon();
        }
      }),
      this.server.onPlanned(() => { this.soon(); }),
      { dispose: () => { clearTimeout(this.waiting); } },
    );
  }

  /** Shows the artifacts of a policy beside the editor; of several, the one that is chosen. */
  async show(target: vscode.Uri, policy?: string): Promise<vscode.Uri | undefined> {
    const about = policy ?? (await policyAtCursor(target));
    if (about === undefined) {
      void vscode.window.showWarningMessage("M4: put the cursor into a policy first.");
      return undefined;
    }
    const found = await this.server.ask<Previewed>("m4.preview", target.toString(), about);
    const artifact = found && (await choose(found));
    if (artifact === undefined) {
      return undefined;
    }
    const uri = uriOf(target.toString(), about, artifact);
    this.shown.set(uri.toString(), artifact);
    this.changed.fire(uri);
    const document = await vscode.workspace.openTextDocument(uri);
    const editor = await vscode.window.showTextDocument(document, { preview: false, preserveFocus: true, viewColumn: vscode.ViewColumn.Beside });
    const first = artifact.parts.find((part) => part.policy === about);
    if (first !== undefined) {
      const at = new vscode.Range(first.start, 0, first.end - 1, 0);
      editor.selection = new vscode.Selection(at.start, at.start);
      editor.revealRange(at, vscode.TextEditorRevealType.InCenter);
    }
    return uri;
  }

  /** Asks only for a document that the window had open when it was last closed. */
  async provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
    if (!this.shown.has(uri.toString()) && vscode.workspace.isTrusted) {
      await this.ask(uri);
    }
    return this.shown.get(uri.toString())?.text ?? "";
  }

  provideCodeLenses(document: vscode.TextDocument): vscode.CodeLens[] {
    return this.parts(document).map((part) => {
      const at = new vscode.Range(part.start, 0, part.start, 0);
      const title = `← ${part.policy}: ${part.operation} (${part.source.uri.split("/").at(-1) ?? ""}:${String(part.source.range.start.line + 1)})`;
      return new vscode.CodeLens(at, { title, command: "vscode.open", arguments: [source(part)] });
    });
  }

  provideDocumentLinks(document: vscode.TextDocument): vscode.DocumentLink[] {
    return this.parts(document).map((part) => {
      const line = document.lineAt(part.start);
      const text = new vscode.Range(part.start, line.firstNonWhitespaceCharacterIndex, part.start, line.text.length);
      const link = new vscode.DocumentLink(text, source(part));
      link.tooltip = `Go to ${part.operation} of ${part.policy}`;
      return link;
    });
  }

  private parts(document: vscode.TextDocument): readonly Part[] {
    const found = this.shown.get(document.uri.toString());
    return (found?.parts ?? []).filter((part) => part.end <= document.lineCount);
  }

  private soon(): void {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => void this.again(), PAUSE);
  }

  /** What is shown is asked for again. While the text is broken, what was shown last stays. */
  private async again(): Promise<void> {
    for (const name of [...this.shown.keys()]) {
      const uri = vscode.Uri.parse(name);
      const before = this.shown.get(name);
      await this.ask(uri);
      if (this.shown.get(name) !== before) {
        this.changed.fire(uri);
        this.redrawn.fire();
      }
    }
  }

  private async ask(uri: vscode.Uri): Promise<void> {
    const [file, policy] = JSON.parse(uri.query) as [string, string];
    const found = await this.server.execute<Previewed>("m4.preview", file, policy).catch(() => undefined);
    const artifact = found?.artifacts.find((one) => `/${one.path}` === uri.path);
    if (artifact !== undefined) {
      this.shown.set(uri.toString(), artifact);
    }
  }
}

/** The line that a part comes from. */
function source(part: Part): vscode.Uri {
  const { line, character } = part.source.range.start;
  return vscode.Uri.parse(part.source.uri).with({ fragment: `L${String(line + 1)},${String(character + 1)}` });
}

/** Of several artifacts one; those to which the policy has added something come first. */
async function choose(found: Previewed): Promise<Artifact | undefined> {
  const mine = (artifact: Artifact): number => (artifact.parts.some((part) => part.policy === found.policy) ? 0 : 1);
  const artifacts = [...found.artifacts].sort((a, b) => mine(a) - mine(b));
  if (artifacts.length <= 1) {
    return artifacts[0];
  }
  const items = artifacts.map((artifact) => ({ label: artifact.path, description: mine(artifact) === 0 ? "" : "nothing in it is of this policy", artifact }));
  return (await vscode.window.showQuickPick(items, { placeHolder: `What ${found.policy} becomes` }))?.artifact;
}
