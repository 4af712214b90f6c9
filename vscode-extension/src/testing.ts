/** The tests of the policies in the Test Explorer: by mesh and file, run by the server. */

import * as vscode from "vscode";

import type { Mesh, Meshes, Test } from "./meshes";
import type { Server } from "./server";

interface Ran {
  readonly title: string;
  readonly file: string;
  readonly range: { readonly start: { readonly line: number } };
  readonly outcome: "passed" | "failed" | "not run";
  readonly reason: string | null;
  readonly requests: readonly {
    readonly expectations: readonly { readonly holds: boolean; readonly message: string | null; readonly range: Range }[];
  }[];
}

interface Range {
  readonly start: { readonly line: number; readonly character: number };
  readonly end: { readonly line: number; readonly character: number };
}

/** The answer of `m4.test`. */
interface Tested {
  readonly tests: { readonly tests: readonly Ran[] };
}

export function showTests(server: Server, meshes: Meshes): vscode.Disposable {
  const controller = vscode.tests.createTestController("m4.tests", "M4");
  const list = (): void => {
    controller.items.replace(meshes.known.filter((mesh) => mesh.tests.length > 0).map((mesh) => ofMesh(controller, mesh)));
  };
  controller.resolveHandler = async (item) => {
    if (item === undefined) {
      await meshes.ask();
    }
  };
  controller.refreshHandler = async () => { await meshes.ask(); };
  const profile = controller.createRunProfile("Run", vscode.TestRunProfileKind.Run, (request, token) => run(server, controller, request, token), true);
  return vscode.Disposable.from(controller, profile, meshes.onDidChange(list));
}

function ofMesh(controller: vscode.TestController, mesh: Mesh): vscode.TestItem {
  const top = controller.createTestItem(mesh.mesh, mesh.mesh);
  const files = new Map<string, Test[]>();
  for (const test of mesh.tests) {
    files.set(test.file, [...(files.get(test.file) ?? []), test]);
  }
  top.children.replace([...files].map(([file, tests]) => {
    const uri = vscode.Uri.parse(file);
    const inFile = controller.createTestItem(`${mesh.mesh} ${file}`, uri.path.split("/").at(-1) ?? file, uri);
    const seen = new Map<string, number>();
    inFile.children.replace(tests.map((test) => {
      const number = (seen.get(test.title) ?? 0) + 1;
      seen.set(test.title, number);
      const item = controller.createTestItem(`${mesh.mesh} ${file} ${test.title}#${String(number)}`, test.title, uri);
      item.range = rangeOf(test.source.range);
      return item;
    }));
    return inFile;
  }));
  return top;
}

/** The tests below some items. */
function leaves(items: Iterable<vscode.TestItem>, left: ReadonlySet<vscode.TestItem>): vscode.TestItem[] {
  return [...items].flatMap((item) => {
    if (left.has(item)) {
      return [];
    }
    return item.children.size === 0 ? [item] : leaves([...item.children].map(([, child]) => child), left);
  });
}

async function run(server: Server, controller: vscode.TestController, request: vscode.TestRunRequest, token: vscode.CancellationToken): Promise<void> {
  const chosen = request.include ?? [...controller.items].map(([, item]) => item);
  const items = leaves(chosen, new Set(request.exclude));
  const started = controller.createTestRun(request);
  const files = new Map<string, vscode.TestItem[]>();
  for (const item of items) {
    started.started(item);
    const file = item.uri?.toString() ?? "";
    files.set(file, [...(files.get(file) ?? []), item]);
  }
  for (const [file, mine] of files) {
    if (token.isCancellationRequested) {
      mine.forEach((item) => { started.skipped(item); });
      continue;
    }
    const title = mine.length === 1 ? mine[0]?.label : undefined;
    const found = await server.execute<Tested>("m4.test", file, title).catch((error: unknown) => String(error));
    for (const item of mine) {
      if (typeof found === "string") {
        started.errored(item, new vscode.TestMessage(found));
        continue;
      }
      const name = item.uri?.path.split("/").at(-1) ?? "";
      const ran = found.tests.tests.find((one) => one.title === item.label && one.range.start.line === item.range?.start.line && one.file.endsWith(name));
      tell(started, item, ran);
    }
  }
  started.end();
}

function tell(run: vscode.TestRun, item: vscode.TestItem, ran: Ran | undefined): void {
  if (ran === undefined) {
    run.skipped(item);
  } else if (ran.outcome === "passed") {
    run.passed(item);
  } else if (ran.outcome === "not run") {
    run.errored(item, new vscode.TestMessage(ran.reason ?? "it was not run"));
  } else {
    const wrong = ran.requests.flatMap((request) => request.expectations).filter((expectation) => !expectation.holds);
    run.failed(item, wrong.map((expectation) => {
      const message = new vscode.TestMessage(expectation.message ?? "it does not hold");
      if (item.uri !== undefined) {
        message.location = new vscode.Location(item.uri, rangeOf(expectation.range));
      }
      return message;
    }));
  }
}

function rangeOf({ start, end }: Range): vscode.Range {
  return new vscode.Range(start.line, start.character, end.line, end.character);
}
