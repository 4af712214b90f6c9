/** Plans as read-only documents. */

import * as vscode from "vscode";

const SCHEME = "m4-plan";

/** Asks the server for a plan: of the file or folder with this URI. Nothing if there is none; the user has been told. */
export type AskForPlan = (uri: string) => Promise<string | undefined>;

/** Shows the plan of a file or a folder beside the editor; the same document shows every later plan of it. */
export class Plans implements vscode.TextDocumentContentProvider {
  private readonly changed = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.changed.event;
  private readonly shown = new Map<string, string>();

  constructor(private readonly ask: AskForPlan) {}

  register(): vscode.Disposable {
    return vscode.Disposable.from(vscode.workspace.registerTextDocumentContentProvider(SCHEME, this), this.changed);
  }

  /** Asks again only for a document that the window had open when it was last closed. */
  async provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
    return this.shown.get(uri.query) ?? (await this.ask(uri.query)) ?? "There is no plan.\n";
  }

  async show(target: vscode.Uri): Promise<void> {
    const about = target.toString();
    const text = await this.ask(about);
    if (text === undefined) {
      return;
    }
    this.shown.set(about, text);
    const name = target.path.split("/").at(-1) ?? "";
    const uri = vscode.Uri.from({ scheme: SCHEME, path: `/Plan of ${name}`, query: about });
    this.changed.fire(uri);
    const document = await vscode.workspace.openTextDocument(uri);
    await vscode.window.showTextDocument(document, { preview: false, viewColumn: vscode.ViewColumn.Beside });
  }
}
