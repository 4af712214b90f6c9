/** The map of the meshes in a panel: it follows the text, shows the policy at the cursor, and counts what is deployed. */

import { randomBytes } from "node:crypto";

import * as vscode from "vscode";

import { Counting } from "./counting";
import { policyAtCursor } from "./evaluate";
import { type Location, type Meshes, uriOf } from "./meshes";
import type { Server } from "./server";

interface Told {
  readonly ready?: boolean;
  readonly open?: Location;
  /** The name of the mesh that is shown. */
  readonly shown?: string;
}

export class MapPanel implements vscode.Disposable {
  private panel: vscode.WebviewPanel | undefined;
  private ready = false;
  private shown: string | undefined;
  private readonly counting: Counting;
  private readonly listening: vscode.Disposable;

  constructor(
    private readonly server: Server,
    private readonly meshes: Meshes,
    private readonly extension: vscode.Uri,
  ) {
    this.counting = new Counting(server, (live) => void this.panel?.webview.postMessage({ live }));
    this.listening = vscode.Disposable.from(
      this.counting,
      meshes.onDidChange(() => {
        this.send();
        this.count();
      }),
      vscode.window.onDidChangeTextEditorSelection(async ({ textEditor, kind }) => {
        if (this.ready && kind !== undefined && textEditor.document.languageId === "m4") {
          const policy = await policyAtCursor(textEditor.document.uri);
          if (policy !== undefined) {
            await this.panel?.webview.postMessage({ select: policy });
          }
        }
      }),
    );
  }

  /** Shows the map, with the policy that is named or stands at the cursor. */
  async show(policy?: string): Promise<void> {
    if (!(await this.server.start(true))) {
      return;
    }
    if (this.panel === undefined) {
      const script = vscode.Uri.joinPath(this.extension, "out");
      this.panel = vscode.window.createWebviewPanel("m4.map", "M4: Map", vscode.ViewColumn.Beside, {
        enableScripts: true,
        localResourceRoots: [script],
        retainContextWhenHidden: true,
      });
      this.panel.onDidDispose(() => {
        this.panel = undefined;
        this.ready = false;
        this.count();
      });
      this.panel.onDidChangeViewState(() => { this.count(); });
      this.panel.webview.onDidReceiveMessage((told: Told) => this.take(told, policy));
      this.panel.webview.html = html(this.panel.webview, vscode.Uri.joinPath(script, "map.js"));
    } else {
      this.panel.reveal(undefined, true);
      await this.panel.webview.postMessage({ select: policy ?? "" });
    }
    await this.meshes.ask();
  }

  dispose(): void {
    this.listening.dispose();
    this.panel?.dispose();
  }

  private async take(told: Told, policy: string | undefined): Promise<void> {
    if (told.ready === true) {
      this.ready = true;
      this.send();
      if (policy !== undefined) {
        await this.panel?.webview.postMessage({ select: policy });
      }
    }
    if (told.shown !== undefined) {
      this.shown = told.shown;
      this.count();
    }
    if (told.open !== undefined) {
      const { range } = told.open;
      const selection = new vscode.Range(range.start.line, range.start.character, range.end.line, range.end.character);
      const viewColumn = vscode.window.visibleTextEditors[0]?.viewColumn ?? vscode.ViewColumn.One;
      await vscode.window.showTextDocument(uriOf(told.open).with({ fragment: "" }), { selection, viewColumn });
    }
  }

  private send(): void {
    if (this.ready) {
      void this.panel?.webview.postMessage({ meshes: this.meshes.known });
    }
  }

  /** Counts the mesh that is shown, while the map is seen. */
  private count(): void {
    const seen = this.ready && this.panel?.visible === true;
    this.counting.follow(seen ? this.meshes.known.find((mesh) => mesh.mesh === this.shown) : undefined);
  }
}

function html(webview: vscode.Webview, script: vscode.Uri): string {
  const nonce = randomBytes(16).toString("hex");
  return `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; script-src 'nonce-${nonce}'">
    <title>M4: Map</title></head><body><script nonce="${nonce}" src="${webview.asWebviewUri(script).toString()}"></script></body></html>`;
}
