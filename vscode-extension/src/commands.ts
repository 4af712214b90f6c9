/**
 * The entries of the command palette. Each asks the server and shows its answer; what a command does is the server's.
 * Their ids begin with `m4.ui.`, for the client registers the server's own commands (`m4.build`, …) under their names.
 */

import * as vscode from "vscode";

import { Plans } from "./plan";
import type { Server } from "./server";

/** The answer of `m4.build`. */
interface Built {
  readonly folder: string;
  readonly files: readonly string[];
}

/** The answer of `m4.deploy` and `m4.undeploy`. The server shows the message itself. */
interface Deployed {
  readonly ok: boolean;
  readonly message: string;
  readonly text: string;
}

/** The answer of `m4.plan`. */
interface Planned {
  readonly text: string;
}

export function registerCommands(server: Server): vscode.Disposable {
  const report = vscode.window.createOutputChannel("M4");
  const plans = new Plans(async (uri) => (await ask<Planned>(server, "m4.plan", uri))?.text);

  const build = async (target: vscode.Uri): Promise<void> => {
    const built = await ask<Built>(server, "m4.build", target.toString());
    if (built !== undefined) {
      await showBuilt(built);
    }
  };
  const deploy = (command: "m4.deploy" | "m4.undeploy") => async (target: vscode.Uri): Promise<void> => {
    const done = await ask<Deployed>(server, command, target.toString());
    if (done !== undefined && done.text !== "") {
      report.replace(done.text);
      report.show(true);
    }
  };

  return vscode.Disposable.from(
    report,
    plans.register(),
    registerOnTarget("m4.ui.build", build),
    registerOnTarget("m4.ui.deploy", deploy("m4.deploy")),
    registerOnTarget("m4.ui.undeploy", deploy("m4.undeploy")),
    registerOnTarget("m4.ui.plan", (target) => plans.show(target)),
    vscode.commands.registerCommand("m4.ui.restart", () => server.restart()),
  );
}

/** Runs a command of the server. Nothing if it failed; the user has been told. */
async function ask<Answer>(server: Server, command: string, uri: string): Promise<Answer | undefined> {
  if (!(await server.start(true))) {
    return undefined;
  }
  return (await vscode.commands.executeCommand<Answer | null>(command, uri)) ?? undefined;
}

function registerOnTarget(id: string, run: (target: vscode.Uri) => Promise<void>): vscode.Disposable {
  return vscode.commands.registerCommand(id, async (given?: vscode.Uri) => {
    const target = given ?? (await pickTarget());
    if (target !== undefined) {
      await run(target);
    }
  });
}

/** The M4 file in the active editor, else the workspace folder. */
async function pickTarget(): Promise<vscode.Uri | undefined> {
  const document = vscode.window.activeTextEditor?.document;
  if (document?.languageId === "m4" && document.uri.scheme === "file") {
    return document.uri;
  }
  const folders = vscode.workspace.workspaceFolders ?? [];
  if (folders.length === 0) {
    void vscode.window.showWarningMessage("M4: open an .m4 file or a folder first.");
    return undefined;
  }
  return folders.length === 1 ? folders[0]?.uri : (await vscode.window.showWorkspaceFolderPick())?.uri;
}

async function showBuilt(built: Built): Promise<void> {
  const open = "Open…";
  const count = `${String(built.files.length)} ${built.files.length === 1 ? "file" : "files"}`;
  const choice = await vscode.window.showInformationMessage(`M4: wrote ${count} into ${built.folder}`, open);
  if (choice !== open) {
    return;
  }
  const file = await vscode.window.showQuickPick([...built.files], { placeHolder: "Open an artifact" });
  if (file !== undefined) {
    await vscode.window.showTextDocument(vscode.Uri.file(file));
  }
}
