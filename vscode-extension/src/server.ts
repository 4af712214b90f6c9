/** The connection to the language server: started when it is first needed, started anew when it stops by itself. */

import * as vscode from "vscode";
import { CloseAction, DidChangeConfigurationNotification, ErrorAction, ExecuteCommandRequest, LanguageClient, type Middleware, State, TransportKind } from "vscode-languageclient/node";

import { findServer, type Search } from "./serverPath";

const LANGUAGE = "m4";

/** Commands of the server that an untrusted workspace may run: those that write nothing and start nothing. */
const HARMLESS: ReadonlySet<string> = new Set(["m4.plan", "m4.test", "m4.evaluate", "m4.map", "m4.status", "m4.top"]);

/** So many unexpected ends in so long a time (milliseconds), and the server is not started again by itself. */
const MAX_ENDS = 4;
const IN_TIME = 180_000;

/** The library's client, of which one is made for each run of a server. */
class Client extends LanguageClient {
  private unwanted = false;

  /** Whether its server is not to be started after all. */
  get abandoned(): boolean {
    return this.unwanted;
  }

  /** The library stops no client that is starting: its server is ended, and so the start fails. */
  abandonStart(): void {
    if (this.state === State.Starting) {
      this.unwanted = true;
      this.serverProcess?.kill();
    }
  }

  protected override async createMessageTransports(encoding: string): ReturnType<LanguageClient["createMessageTransports"]> {
    const transports = await super.createMessageTransports(encoding);
    if (this.unwanted) {
      this.serverProcess?.kill();
    }
    return transports;
  }

  /** Into the log only: what the library would show is a stack trace, and what the user has to know we say ourselves. */
  override error(message: string, data?: unknown): void {
    super.error(message, data, false);
  }
}

export class Server {
  /** The client whose server runs or is starting. */
  private client: Client | undefined;
  /** The server that was last looked for; nothing if it was never wanted. */
  private search: Search | undefined;
  /** A server that does not run, of which the user knows; empty if there is none at all. */
  private hopeless: string | undefined;
  /** When servers ended unexpectedly. */
  private ends: number[] = [];
  /** Starts and stops come one after the other: a client can do only one of them at a time. */
  private last: Promise<unknown> = Promise.resolve();
  private readonly planned = new vscode.EventEmitter<void>();
  /** Plans were made that say something else than those before. */
  readonly onPlanned = this.planned.event;
  private readonly deployed = new vscode.EventEmitter<void>();
  /** Something was deployed or stopped, or should have been. */
  readonly onDeployed = this.deployed.event;
  private readonly output = vscode.window.createOutputChannel("M4 Language Server", { log: true });
  private readonly status = vscode.languages.createLanguageStatusItem("m4.server", { language: LANGUAGE });

  /**
   * Starts the server unless it runs.
   * @param again - try and complain also if the user has been told that this server does not run
   * @returns whether it runs; if not, the user has been told why.
   */
  start(again = false): Promise<boolean> {
    return this.inTurn(() => (this.client === undefined ? this.launch(again) : Promise.resolve(true)));
  }

  /** Runs a command of the server. Nothing if it failed; the user has been told. */
  async ask<Answer>(command: string, ...args: unknown[]): Promise<Answer | undefined> {
    if (!(await this.start(true))) {
      return undefined;
    }
    return (await vscode.commands.executeCommand<Answer | null>(command, ...args)) ?? undefined;
  }

  /** As `ask`, but nobody is told of a failure. */
  async execute<Answer>(command: string, ...args: unknown[]): Promise<Answer> {
    if (this.client === undefined) {
      throw new Error("the server does not run");
    }
    return this.client.sendRequest(ExecuteCommandRequest.type, { command, arguments: args }) as Promise<Answer>;
  }

  restart(): Promise<boolean> {
    this.client?.abandonStart();
    return this.inTurn(async () => {
      await this.end();
      return this.launch(true);
    });
  }

  /** The workspace is trusted now: the server is told, and another one may be used. */
  async trusted(): Promise<void> {
    await this.say({ trusted: true });
    await this.follow();
  }

  /** Artifacts are to be validated after a save, or not any more. */
  async validating(): Promise<void> {
    await this.say({ validateArtifacts: validates() });
  }

  private async say(m4: Record<string, boolean>): Promise<void> {
    if (this.client?.state === State.Running) {
      await this.client.sendNotification(DidChangeConfigurationNotification.type, { settings: { m4 } });
    }
  }

  /** After a change of settings or trust: if another server is to be used now, or none is found elsewhere, that is done or told. */
  async follow(): Promise<void> {
    const outdated = (): boolean => {
      const [before, now] = [this.search, find()];
      return (
        before !== undefined &&
        (before.found !== now.found || (now.found === undefined && before.tried.join() !== now.tried.join()))
      );
    };
    if (!outdated()) {
      return;
    }
    this.client?.abandonStart();
    await this.inTurn(async () => {
      if (outdated()) {
        await this.end();
        await this.launch(true);
      }
    });
  }

  async dispose(): Promise<void> {
    this.client?.abandonStart();
    await this.inTurn(() => this.end());
    this.planned.dispose();
    this.deployed.dispose();
    this.output.dispose();
    this.status.dispose();
  }

  private inTurn<Result>(act: () => Promise<Result>): Promise<Result> {
    const done = this.last.then(act, act);
    this.last = done;
    return done;
  }

  private async end(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    this.hopeless = undefined;
    this.ends = [];
    if (client?.state === State.Running) {
      await client.dispose().catch((error: unknown) => {
        this.output.warn(`stopping: ${describe(error)}`);
      });
    }
  }

  private async launch(again: boolean): Promise<boolean> {
    const { found, tried, fromSetting } = (this.search = find());
    if (!again && this.hopeless === (found ?? "")) {
      return false;
    }
    if (found === undefined) {
      this.hopeless = "";
      const message = fromSetting
        ? `“m4.server.path” names no program: ${tried.join(", ")}. Set it to m4ls, or empty it to have m4ls looked for.`
        : `No M4 language server found (looked at: ${tried.join(", ")}). ` +
          "Install it with “pip install xmesh”, or set “m4.server.path”.";
      void this.offer("not found", message, "Open settings");
      return false;
    }
    this.output.info(`server: ${found}`);
    const client = this.connect(found);
    this.client = client;
    this.tell("starts", { detail: found, busy: true });
    try {
      await client.start();
      this.hopeless = undefined;
      this.tell(client.initializeResult?.serverInfo?.version ?? "runs", { detail: found });
      return true;
    } catch (error) {
      this.client = undefined;
      if (!client.abandoned) {
        this.output.error(`the server did not start: ${describe(error)}`);
        this.hopeless = found;
        void this.offer("did not start", `The M4 language server ${found} did not start.`, "Show output");
      }
      return false;
    }
  }

  private connect(program: string): Client {
    const client: Client = new Client(
      LANGUAGE,
      "M4",
      { command: program, transport: TransportKind.stdio },
      {
        initializationOptions: () => ({ trusted: vscode.workspace.isTrusted, validateArtifacts: validates() }),
        documentSelector: [{ scheme: "file", language: LANGUAGE }],
        outputChannel: this.output,
        errorHandler: {
          error: (error) => {
            this.output.error(describe(error));
            return { action: ErrorAction.Continue, handled: true };
          },
          closed: () => ({ action: CloseAction.DoNotRestart, handled: true }),
        },
        initializationFailedHandler: () => false,
        middleware: this.middleware(() => client),
      },
    );
    client.onNotification("$/m4/planned", () => {
      this.planned.fire();
    });
    client.onNotification("$/m4/deployed", () => {
      this.deployed.fire();
    });
    client.onDidChangeState(({ oldState, newState }) => {
      if (oldState === State.Running && newState === State.Stopped && this.client === client) {
        this.client = undefined;
        this.endedUnexpectedly(program);
      }
    });
    return client;
  }

  private endedUnexpectedly(program: string): void {
    const now = Date.now();
    this.ends = [...this.ends.filter((end) => now - end < IN_TIME), now];
    if (this.ends.length > MAX_ENDS) {
      this.hopeless = program;
      const times = String(this.ends.length);
      const message = `The M4 language server stopped ${times} times within three minutes and is not started again.`;
      void this.offer("stopped", message, "Show output");
    } else {
      void vscode.window.showWarningMessage("The M4 language server stopped unexpectedly and is started again.");
      void this.start();
    }
  }

  /** Says in the status bar, where M4 is edited, how the server is. */
  private tell(text: string, more: { detail: string; busy?: boolean; wrong?: boolean }): void {
    this.status.text = `m4ls ${text}`;
    this.status.detail = more.detail;
    this.status.busy = more.busy ?? false;
    this.status.severity = more.wrong === true ? vscode.LanguageStatusSeverity.Error : vscode.LanguageStatusSeverity.Information;
    this.status.command = { command: "m4.ui.restart", title: "Restart" };
  }

  /** Tells the user that the server does not run, and offers a way out besides trying again. */
  private async offer(what: string, message: string, way: "Open settings" | "Show output"): Promise<void> {
    this.tell(what, { detail: this.search?.found ?? "", wrong: true });
    const again = "Try again";
    const choice = await vscode.window.showErrorMessage(message, way, again);
    if (choice === "Open settings") {
      await vscode.commands.executeCommand("workbench.action.openSettings", "m4.server.path");
    } else if (choice === "Show output") {
      this.output.show();
    } else if (choice === again) {
      await this.restart();
    }
  }

  /** Tells the user why a command failed, and offers to look closer. A message with something to choose is shown in full. */
  private async offerReason(message: string): Promise<void> {
    const wrong = vscode.languages
      .getDiagnostics()
      .some(([, found]) => found.some((one) => one.source === LANGUAGE && one.severity === vscode.DiagnosticSeverity.Error));
    const way = wrong ? "Show problems" : "Show output";
    if ((await vscode.window.showErrorMessage(message, way)) === undefined) {
      return;
    }
    if (wrong) {
      await vscode.commands.executeCommand("workbench.panel.markers.view.focus");
    } else {
      this.output.show();
    }
  }

  /** Every command of the server, also that of a code action, passes here: the gate for untrusted workspaces. */
  private middleware(client: () => LanguageClient): Middleware {
    return {
      executeCommand: async (command, args: unknown[]): Promise<unknown> => {
        if (!vscode.workspace.isTrusted && !HARMLESS.has(command)) {
          void vscode.window.showWarningMessage("M4: nothing is built or deployed in a workspace that is not trusted.");
          return undefined;
        }
        try {
          return await client().sendRequest(ExecuteCommandRequest.type, { command, arguments: args });
        } catch (error) {
          this.output.error(`${command}: ${describe(error)}`);
          void this.offerReason(`M4: ${describe(error)}`);
          return undefined;
        }
      },
      resolveCodeLens: async (lens, token, next) => {
        const resolved = await next(lens, token);
        if (resolved?.command !== undefined && !vscode.workspace.isTrusted && !HARMLESS.has(resolved.command.command)) {
          resolved.command = { title: resolved.command.title, command: "" };
        }
        if (resolved?.command !== undefined) {
          resolved.command.command = resolved.command.command.replace(/^m4\.(?!ui\.)/, "m4.ui."); // which shows the answer
        }
        return resolved;
      },
      provideCodeActions: async (document, range, context, token, next) => {
        const actions = await next(document, range, context, token);
        if (vscode.workspace.isTrusted) {
          return actions;
        }
        return actions?.filter((action) => {
          const command = typeof action.command === "string" ? action.command : action.command?.command;
          return command === undefined || HARMLESS.has(command);
        });
      },
    };
  }
}

/** Looks for the server as settings, folders and trust are now. */
function find(): Search {
  return findServer({
    setting: vscode.workspace.getConfiguration("m4").get<string>("server.path", "").trim(),
    folders: (vscode.workspace.workspaceFolders ?? [])
      .filter((folder) => folder.uri.scheme === "file")
      .map((folder) => folder.uri.fsPath),
    trusted: vscode.workspace.isTrusted,
    searchPath: process.env.PATH ?? "",
  });
}

function validates(): boolean {
  return vscode.workspace.getConfiguration("m4").get<boolean>("validateArtifacts", true);
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
