/** Answers of the server that are texts for people, as read-only documents. */

import * as vscode from "vscode";

/** Asks the server about the file or folder with this URI. Nothing if there is no answer; the user has been told. */
export type Ask = (uri: string) => Promise<string | undefined>;

/** Shows answers about files and folders beside the editor; the same document shows every later answer about the same. */
export class Answers implements vscode.TextDocumentContentProvider {
  private readonly changed = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.changed.event;
  private readonly shown = new Map<string, string>();

  /** `title` is the beginning of what the document is called, and `none` what it says without an answer. */
  constructor(
    private readonly scheme: string,
    private readonly title: string,
    private readonly none: string,
    private readonly ask: Ask,
  ) {}

  register(): vscode.Disposable {
    return vscode.Disposable.from(vscode.workspace.registerTextDocumentContentProvider(this.scheme, this), this.changed);
  }

  /** Asks again only for a document that the window had open when it was last closed. */
  async provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
    return this.shown.get(uri.query) ?? (await this.ask(uri.query)) ?? `${this.none}\n`;
  }

  async show(target: vscode.Uri): Promise<void> {
    const about = target.toString();
    const text = await this.ask(about);
    if (text === undefined) {
      return;
    }
    this.shown.set(about, text);
    const name = target.path.split("/").at(-1) ?? "";
    const uri = vscode.Uri.from({ scheme: this.scheme, path: `/${this.title} ${name}`, query: about });
    this.changed.fire(uri);
    const document = await vscode.workspace.openTextDocument(uri);
    await vscode.window.showTextDocument(document, { preview: false, viewColumn: vscode.ViewColumn.Beside });
  }
}
