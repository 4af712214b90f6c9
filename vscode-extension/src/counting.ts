/** Live counts of a mesh, asked for as long as somebody sees them. */

import * as vscode from "vscode";

import type { Mesh } from "./meshes";
import type { Server } from "./server";

/** The answer of `m4.top`, as far as it matters here; the map has the rest. */
interface Live {
  readonly deployed: boolean;
}

/** Until counts are asked for again, and until it is looked again whether there are any, in milliseconds. */
const NEXT = 1_000;
const IDLE = 5_000;

export class Counting implements vscode.Disposable {
  private mesh: { readonly name: string; readonly uri: string } | undefined;
  private waiting: NodeJS.Timeout | undefined;
  /** The question whose answer counts. */
  private turn = 0;
  private readonly listening: vscode.Disposable;

  /** `tell` gets each answer, and nothing when nobody is asked any more. */
  constructor(
    private readonly server: Server,
    private readonly tell: (live: object | null) => void,
  ) {
    this.listening = vscode.Disposable.from(
      server.onDeployed(() => { this.again(); }),
      vscode.workspace.onDidGrantWorkspaceTrust(() => { this.again(); }),
    );
  }

  /** Somebody sees this mesh now, or none. */
  follow(mesh: Mesh | undefined): void {
    const uri = mesh?.source?.uri;
    const wanted = mesh === undefined || uri === undefined ? undefined : { name: mesh.mesh, uri };
    if (wanted?.name === this.mesh?.name && wanted?.uri === this.mesh?.uri) {
      return;
    }
    this.mesh = wanted;
    this.tell(null);
    this.again();
  }

  dispose(): void {
    this.mesh = undefined;
    this.again();
    this.listening.dispose();
  }

  private again(): void {
    clearTimeout(this.waiting);
    this.turn++;
    void this.ask(this.turn);
  }

  private async ask(turn: number): Promise<void> {
    if (this.mesh === undefined || !vscode.workspace.isTrusted) {
      return;
    }
    const { name, uri } = this.mesh;
    const live = await this.server
      .execute<Live>("m4.top", uri, name)
      .catch((error: unknown) => ({ mesh: name, deployed: false, message: error instanceof Error ? error.message : String(error) }));
    if (turn === this.turn) {
      this.tell(live);
      this.waiting = setTimeout(() => void this.ask(turn), live.deployed ? NEXT : IDLE);
    }
  }
}
