/** The M4 extension: a thin client of the language server `m4ls`. */

import * as vscode from "vscode";

import { registerCommands } from "./commands";
import { looksLikeM4, LOOKED_AT } from "./language";
import { MapPanel } from "./map";
import { Meshes, showMeshes } from "./meshes";
import { Server } from "./server";
import { showTests } from "./testing";

let server: Server | undefined;

export function activate(context: vscode.ExtensionContext): void {
  const running = new Server();
  server = running;
  // A document is claimed once; who then sets another language keeps it.
  const claimed = new WeakSet<vscode.TextDocument>();

  const look = async (document: vscode.TextDocument): Promise<void> => {
    if (document.languageId === "m4") {
      claimed.add(document);
      if (document.uri.scheme === "file") {
        await running.start();
      }
    } else if (document.fileName.endsWith(".m4") && !claimed.has(document) && looksLikeM4(head(document))) {
      claimed.add(document);
      await vscode.languages.setTextDocumentLanguage(document, "m4");
    }
  };

  const meshes = new Meshes(running);
  const map = new MapPanel(running, meshes, context.extensionUri);
  context.subscriptions.push(
    meshes,
    map,
    showMeshes(meshes),
    showTests(running, meshes),
    registerCommands(running, context.workspaceState, map),
    vscode.workspace.onDidOpenTextDocument(look),
    vscode.workspace.onDidChangeTextDocument(async ({ document }) => {
      // A new file tells what it is only while it is written.
      if (document.languageId === "plaintext") {
        await look(document);
      }
    }),
    vscode.workspace.onDidChangeConfiguration(async (event) => {
      if (event.affectsConfiguration("m4.server.path")) {
        await running.follow();
      }
      if (event.affectsConfiguration("m4.validateArtifacts")) {
        await running.validating();
      }
    }),
    vscode.workspace.onDidGrantWorkspaceTrust(() => running.trusted()),
    vscode.workspace.onDidChangeWorkspaceFolders(() => running.follow()),
  );
  for (const document of vscode.workspace.textDocuments) {
    void look(document);
  }
}

export async function deactivate(): Promise<void> {
  await server?.dispose();
}

function head(document: vscode.TextDocument): string {
  return document.getText(new vscode.Range(document.positionAt(0), document.positionAt(LOOKED_AT)));
}
