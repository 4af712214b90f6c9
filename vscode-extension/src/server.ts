/** The connection to the language server: started when it is first needed, restarted when it stops by itself. */

import * as vscode from "vscode";
import {
  type CloseHandlerResult,
  CloseAction,
  ErrorAction,
  type ErrorHandler,
  type ErrorHandlerResult,
  ExecuteCommandRequest,
  LanguageClient,
  type Middleware,
  TransportKind,
} from "vscode-languageclient/node";

import { findServer } from "./serverPath";

const LANGUAGE = "m4";

/** Commands of the server that an untrusted workspace may run: those that write nothing and start nothing. */
const HARMLESS: ReadonlySet<string> = new Set(["m4.plan"]);

/** So many unexpected ends in so long a time (milliseconds), and the server is not started again by itself. */
const MAX_ENDS = 4;
const IN_TIME = 180_000;

export class Server {
  private client: LanguageClient | undefined;
  private starting: Promise<boolean> | undefined;
  private complained = false;
  private readonly output = vscode.window.createOutputChannel("M4 Language Server", { log: true });

  /**
   * Starts the server unless it runs.
   * @param again - complain about a missing server even if that was done before
   * @returns whether it runs; if not, the user has been told why.
   */
  start(again = false): Promise<boolean> {
    this.starting ??= this.tryStart(again).then((running) => {
      if (!running) {
        this.starting = undefined;
      }
      return running;
    });
    return this.starting;
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start(true);
  }

  async stop(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    this.starting = undefined;
    this.complained = false;
    // A client that could not start, or whose server has died, cannot be stopped once more.
    await client?.dispose().catch((error: unknown) => {
      this.output.warn(`stopping: ${describe(error)}`);
    });
  }

  async dispose(): Promise<void> {
    await this.stop();
    this.output.dispose();
  }

  /** Whether the server has been started at all. */
  get wanted(): boolean {
    return this.starting !== undefined || this.complained;
  }

  private async tryStart(again: boolean): Promise<boolean> {
    const search = findServer({
      setting: vscode.workspace.getConfiguration("m4").get<string>("server.path", "").trim(),
      folders: (vscode.workspace.workspaceFolders ?? [])
        .filter((folder) => folder.uri.scheme === "file")
        .map((folder) => folder.uri.fsPath),
      trusted: vscode.workspace.isTrusted,
      searchPath: process.env.PATH ?? "",
    });
    if (search.found === undefined) {
      if (again || !this.complained) {
        this.complained = true;
        void this.offer(
          `No M4 language server found (looked at: ${search.tried.join(", ")}). ` +
            "Install it with “pip install xmesh”, or set “m4.server.path”.",
          "Open settings",
        );
      }
      return false;
    }
    this.output.info(`server: ${search.found}`);
    const client: LanguageClient = new LanguageClient(
      LANGUAGE,
      "M4",
      { command: search.found, transport: TransportKind.stdio },
      {
        documentSelector: [{ scheme: "file", language: LANGUAGE }],
        outputChannel: this.output,
        errorHandler: this.errorHandler(),
        initializationFailedHandler: () => false,
        middleware: this.middleware(() => client),
      },
    );
    this.client = client;
    try {
      await client.start();
      return true;
    } catch (error) {
      this.output.error(`the server did not start: ${describe(error)}`);
      void this.offer(`The M4 language server did not start: ${describe(error)}`, "Show output");
      return false;
    }
  }

  /** Tells the user and offers a way out besides trying again. */
  private async offer(message: string, way: "Open settings" | "Show output"): Promise<void> {
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

  private errorHandler(): ErrorHandler {
    const ends: number[] = [];
    return {
      error: (error): ErrorHandlerResult => {
        this.output.error(describe(error));
        return { action: ErrorAction.Continue, handled: true };
      },
      closed: (): CloseHandlerResult => {
        const now = Date.now();
        ends.push(now);
        if (ends.filter((end) => now - end < IN_TIME).length > MAX_ENDS) {
          this.starting = undefined;
          const message = `The M4 language server stopped ${String(MAX_ENDS + 1)} times within three minutes and is not started again.`;
          void this.offer(message, "Show output");
          return { action: CloseAction.DoNotRestart, handled: true, message };
        }
        const message = "The M4 language server stopped unexpectedly and was started again.";
        void vscode.window.showWarningMessage(message);
        return { action: CloseAction.Restart, handled: true, message };
      },
    };
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
          void vscode.window.showErrorMessage(`M4: ${describe(error)}`);
          return undefined;
        }
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

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
