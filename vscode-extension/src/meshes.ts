/** The meshes of the workspace as the server knows them: in a tree, and in a line of the status bar. */

import * as vscode from "vscode";

import type { Server } from "./server";

export interface Location {
  readonly uri: string;
  readonly range: { readonly start: { readonly line: number; readonly character: number }; readonly end: { readonly line: number; readonly character: number } };
}

interface Runs {
  readonly policy: string;
  readonly operation: string;
  readonly side: string;
  readonly hop: readonly [string, string];
  readonly source: Location | null;
}

interface Element {
  readonly dataplane: string;
  readonly tier: string;
  readonly reasons: readonly string[];
  readonly runs: readonly Runs[];
}

interface Service {
  readonly name: string;
  readonly entry: boolean;
  readonly external: boolean;
  readonly versions: readonly string[];
  readonly elements: readonly Element[];
  readonly source: Location | null;
}

export interface Test {
  readonly title: string;
  readonly file: string;
  readonly source: Location;
}

/** One of the answer of `m4.map`. */
export interface Mesh {
  readonly mesh: string;
  readonly source: Location | null;
  readonly planned: boolean;
  readonly services: readonly Service[];
  readonly policies: readonly { readonly name: string }[];
  readonly conflicts: readonly unknown[];
  readonly tests: readonly Test[];
}

/** How long nothing is typed before the server is asked again, in milliseconds. */
const PAUSE = 500;

/** Of more policies the answer is long: it is asked for only when plans say something else. */
const MANY = 2000;

/** Asks the server for its meshes, and again when they may have changed. */
export class Meshes implements vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<void>();
  readonly onDidChange = this.changed.event;
  private waiting: NodeJS.Timeout | undefined;
  private readonly listening: vscode.Disposable;
  known: readonly Mesh[] = [];

  constructor(private readonly server: Server) {
    this.listening = vscode.Disposable.from(
      server.onPlanned(() => { this.soon(0); }),
      vscode.workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        if (document.uri.scheme === "file" && contentChanges.length > 0 && this.known.length > 0 && !this.known.some((mesh) => mesh.policies.length > MANY)) {
          this.soon(PAUSE);
        }
      }),
    );
  }

  /** The meshes as they are now; those that were known last if the server does not answer. */
  async ask(): Promise<readonly Mesh[]> {
    const found = await this.server.execute<{ meshes: readonly Mesh[] }>("m4.map").catch(() => undefined);
    if (found !== undefined) {
      this.known = found.meshes;
      await vscode.commands.executeCommand("setContext", "m4.hasMeshes", found.meshes.length > 0);
      this.changed.fire();
    }
    return this.known;
  }

  dispose(): void {
    clearTimeout(this.waiting);
    this.listening.dispose();
    this.changed.dispose();
  }

  private soon(pause: number): void {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => void this.ask(), pause);
  }
}

/** A line of the tree, with the lines below it. */
interface Node {
  readonly id: string;
  readonly label: string;
  readonly description: string;
  readonly icon: string;
  readonly tooltip: string;
  readonly source: Location | null;
  readonly below: readonly Node[];
  readonly open: boolean;
}

class Tree implements vscode.TreeDataProvider<Node> {
  readonly onDidChangeTreeData: vscode.Event<void>;

  constructor(private readonly meshes: Meshes) {
    this.onDidChangeTreeData = meshes.onDidChange;
  }

  getChildren(node?: Node): Node[] {
    return [...(node === undefined ? this.meshes.known.map(meshNode) : node.below)];
  }

  getTreeItem(node: Node): vscode.TreeItem {
    const { None, Expanded, Collapsed } = vscode.TreeItemCollapsibleState;
    const item = new vscode.TreeItem(node.label, node.below.length === 0 ? None : node.open ? Expanded : Collapsed);
    item.id = node.id;
    item.description = node.description;
    item.iconPath = new vscode.ThemeIcon(node.icon);
    item.tooltip = node.tooltip;
    if (node.source !== null) {
      item.command = { title: "Open", command: "vscode.open", arguments: [uriOf(node.source)] };
    }
    return item;
  }
}

/** Where something is declared, as a link. */
export function uriOf({ uri, range }: Location): vscode.Uri {
  return vscode.Uri.parse(uri).with({ fragment: `L${String(range.start.line + 1)},${String(range.start.character + 1)}` });
}

function counted(count: number, what: string): string {
  return `${String(count)} ${what}${count === 1 ? "" : "s"}`;
}

function meshNode(mesh: Mesh): Node {
  const elements = mesh.services.flatMap((service) => service.elements).length;
  const facts = [counted(mesh.services.length, "service"), mesh.planned ? counted(elements, "element") : "no plan"];
  const services = [...mesh.services].sort((a, b) => Number(b.elements.length > 0) - Number(a.elements.length > 0));
  const below = services.map((service) => serviceNode(mesh.mesh, service));
  return { id: mesh.mesh, label: mesh.mesh, description: facts.join(", "), icon: "type-hierarchy", tooltip: `mesh ${mesh.mesh}`, source: mesh.source, below, open: true };
}

function serviceNode(mesh: string, service: Service): Node {
  const facts = [...(service.entry ? ["entry"] : []), ...(service.external ? ["outside the mesh"] : []), ...service.versions];
  const id = `${mesh}/${service.name}`;
  const below = service.elements.map((element) => elementNode(id, element));
  return { id, label: service.name, description: facts.join(", "), icon: service.external ? "globe" : "server", tooltip: `service ${service.name}`, source: service.source, below, open: below.length > 0 };
}

function elementNode(parent: string, element: Element): Node {
  const id = `${parent}/${element.dataplane}`;
  const below = element.runs.map((runs, number): Node => ({
    id: `${id}/${String(number)}`,
    label: runs.policy,
    description: `${runs.operation} at ${runs.side} of ${runs.hop.join(" → ")}`,
    icon: "symbol-event",
    tooltip: `${runs.operation} of ${runs.policy}`,
    source: runs.source,
    below: [],
    open: false,
  }));
  return { id, label: element.dataplane, description: element.tier, icon: "circuit-board", tooltip: element.reasons.join("\n"), source: null, below, open: false };
}

/** The tree in the Explorer and the line in the status bar. */
export function showMeshes(meshes: Meshes): vscode.Disposable {
  const status = vscode.window.createStatusBarItem("m4.meshes", vscode.StatusBarAlignment.Left);
  status.name = "M4 meshes";
  const tell = (): void => {
    const known = meshes.known;
    if (known.length === 0) {
      status.hide();
      return;
    }
    const elements = known.flatMap((mesh) => mesh.services).flatMap((service) => service.elements).length;
    const conflicts = known.flatMap((mesh) => mesh.conflicts).length;
    const name = known.length === 1 ? (known[0]?.mesh ?? "") : counted(known.length, "mesh").replace("meshs", "meshes");
    const state = conflicts > 0 ? counted(conflicts, "conflict") : known.every((mesh) => mesh.planned) ? counted(elements, "element") : "no plan";
    status.text = `$(type-hierarchy) ${name}: ${state}`;
    status.tooltip = `M4: ${counted(known.flatMap((mesh) => mesh.policies).length, "policy").replace("policys", "policies")}. Shows the map.`;
    status.backgroundColor = conflicts > 0 ? new vscode.ThemeColor("statusBarItem.warningBackground") : undefined;
    status.command = "m4.ui.map";
    status.show();
  };
  return vscode.Disposable.from(
    status,
    meshes.onDidChange(tell),
    vscode.window.registerTreeDataProvider("m4.meshes", new Tree(meshes)),
  );
}
