/**
 * The entries of the command palette. Each asks the server and shows its answer; what a command does is the server's.
 * Their ids begin with `m4.ui.`, for the client registers the server's own commands (`m4.build`, …) under their names.
 */

import * as path from "node:path";

import * as vscode from "vscode";

import { Answers } from "./answers";
import { editing, Evaluations, policyAtCursor } from "./evaluate";
import type { MapPanel } from "./map";
import { Previews } from "./preview";
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

/** The answer of `m4.plan`, `m4.status` and `m4.test`. */
interface Told {
  readonly text: string;
}

export function registerCommands(server: Server, memory: vscode.Memento, map: MapPanel): vscode.Disposable {
  const report = vscode.window.createOutputChannel("M4");
  const evaluations = new Evaluations(server, memory);
  const previews = new Previews(server);
  const told = (what: string) => async (uri: string) => (await server.ask<Told>(what, uri))?.text;
  const plans = new Answers("m4-plan", "Plan of", "There is no plan.", told("m4.plan"));
  const statuses = new Answers("m4-status", "Status of", "Nothing is known of it.", told("m4.status"));

  const build = async (target: vscode.Uri): Promise<void> => {
    const built = await server.ask<Built>("m4.build", target.toString());
    if (built !== undefined) {
      await showBuilt(built);
    }
  };
  const showDeployed = (done: Deployed | undefined): void => {
    if (done === undefined) {
      return;
    }
    // Nothing is replaced: VS Code goes on to underline the links of a text where it stood, in the text that took its place.
    report.appendLine(`${new Date().toLocaleTimeString()}  ${done.message}\n${done.text}`);
    if (done.text !== "") {
      report.show(true);
    }
  };
  const deploy = async (target: vscode.Uri): Promise<Deployed | undefined> => {
    // The server asks where, says what would change, and asks again.
    const done = await server.ask<Deployed>("m4.deploy", target.toString(), null, deploymentFolder(target));
    showDeployed(done);
    return done;
  };
  const undeploy = async (target: vscode.Uri): Promise<void> => {
    showDeployed(await server.ask<Deployed>("m4.undeploy", target.toString()));
  };
  const test = async (target: vscode.Uri, ...title: string[]): Promise<void> => {
    const tested = await server.ask<Told>("m4.test", target.toString(), ...title);
    if (tested !== undefined) {
      report.appendLine(`${new Date().toLocaleTimeString()}  Tests\n${tested.text}`);
      report.show(true);
    }
  };

  return vscode.Disposable.from(
    report,
    evaluations,
    plans.register(),
    statuses.register(),
    previews.register(),
    registerOnTarget("m4.ui.build", build),
    registerOnTarget("m4.ui.deploy", deploy),
    registerOnTarget("m4.ui.undeploy", undeploy),
    registerOnTarget("m4.ui.plan", (target) => plans.show(target)),
    registerOnTarget("m4.ui.status", (target) => statuses.show(target)),
    registerOnTarget("m4.ui.test", test),
    registerOnTarget("m4.ui.evaluate", (target, policy, request) => evaluations.run(target, policy, request)),
    registerOnTarget("m4.ui.preview", (target, policy) => previews.show(target, policy)),
    vscode.commands.registerCommand("m4.ui.map", async (policy?: string) => {
      const uri = editing()?.document.uri;
      await map.show(typeof policy === "string" ? policy : uri && (await policyAtCursor(uri)));
    }),
    vscode.commands.registerCommand("m4.ui.clear", () => { evaluations.clear(); }),
    vscode.commands.registerCommand("m4.ui.restart", () => server.restart()),
  );
}

/** A command on a file or folder; a lens gives that as a text, and may say more. */
function registerOnTarget(id: string, run: (target: vscode.Uri, ...more: string[]) => Promise<unknown>): vscode.Disposable {
  return vscode.commands.registerCommand(id, async (given?: vscode.Uri | string, ...more: string[]) => {
    const target = typeof given === "string" ? vscode.Uri.parse(given) : (given ?? (await pickTarget()));
    return target === undefined ? undefined : run(target, ...more);
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

/** The folder that is offered to deploy into. */
function deploymentFolder(target: vscode.Uri): string {
  const root = vscode.workspace.getWorkspaceFolder(target)?.uri.fsPath ?? path.dirname(target.fsPath);
  return path.resolve(root, vscode.workspace.getConfiguration("m4", target).get<string>("deploy.folder", "out").trim() || "out");
}

async function showBuilt(built: Built): Promise<void> {
  const open = "Open…";
  const count = `${String(built.files.length)} ${built.files.length === 1 ? "file" : "files"}`;
  const choice = await vscode.window.showInformationMessage(`M4: wrote ${count} into ${built.folder}`, open);
  if (choice !== open) {
    return;
  }
  const names = built.files.map((file) => path.relative(built.folder, file));
  const name = await vscode.window.showQuickPick(names, { placeHolder: "Open an artifact" });
  if (name !== undefined) {
    await vscode.window.showTextDocument(vscode.Uri.file(path.join(built.folder, name)));
  }
}
