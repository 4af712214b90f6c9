// Runs inside the extension host: VS Code calls `run` and reports how it ended.
const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const vscode = require("vscode");

const PATIENCE = 30_000;

async function until(what, condition) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const value = await condition();
    if (value) {
      return value;
    }
    if (Date.now() > end) {
      throw new Error(`never happened: ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const folder = () => vscode.workspace.workspaceFolders[0].uri;
const inFolder = (name) => vscode.Uri.joinPath(folder(), name);
// The findings of a code; what leads to the page that explains it is a part of the code.
const findings = (uri, code) => vscode.languages.getDiagnostics(uri).filter((found) => found.code?.value === code);
const contradictions = (uri) => findings(uri, "contradiction");

async function show(uri) {
  const document = await vscode.workspace.openTextDocument(uri);
  await vscode.window.showTextDocument(document);
  return document;
}

function place(document, text, offset = 0) {
  const at = document.getText().indexOf(text);
  assert.ok(at >= 0, `${text} is in ${document.uri.path}`);
  return document.positionAt(at + offset);
}

/** The checks, in the order in which they are run; each leaves the workspace as the next one wants it. */
const checks = {
  async "the packaged extension is there and is not the development one"() {
    const extension = vscode.extensions.getExtension("xmesh.xmesh-m4");
    assert.ok(extension);
    assert.ok(extension.extensionPath.startsWith(process.env.M4_EXTENSIONS), extension.extensionPath);
    const { walkthroughs, commands } = extension.packageJSON.contributes;
    const known = new Set(await vscode.commands.getCommands(true));
    assert.deepStrictEqual(commands.map((one) => one.command).filter((id) => !known.has(id)), []);
    for (const { media, description } of walkthroughs.flatMap((one) => one.steps)) {
      assert.ok(fs.existsSync(path.join(extension.extensionPath, media.markdown)), media.markdown);
      for (const [, id] of description.matchAll(/command:([\w.]+)/g)) {
        assert.ok(known.has(id), id);
      }
    }
  },

  async "the conflict is shown at both policies with its witness"() {
    const document = await show(inFolder("shop.m4"));
    await until("claimed", () => vscode.window.activeTextEditor.document.languageId === "m4");
    const [here] = await until("the conflict", () => contradictions(document.uri).length === 1 && contradictions(document.uri));
    assert.strictEqual(here.severity, vscode.DiagnosticSeverity.Error);
    assert.strictEqual(here.source, "m4");
    assert.ok(here.code.target.path.endsWith("/diagnostics/contradiction.md"));
    assert.ok(fs.existsSync(here.code.target.fsPath));
    assert.match(here.message, /even/);
    assert.match(here.message, /e -> f/);
    assert.strictEqual(here.relatedInformation[0].location.uri.path, inFolder("even.m4").path);
    const [there] = await until("the other place", () => contradictions(inFolder("even.m4")).length === 1 && contradictions(inFolder("even.m4")));
    assert.match(there.message, /send_some/);
  },

  async "offsets count as VS Code counts, also behind é and 😀"() {
    const document = await show(inFolder("even.m4"));
    const [found] = await until("the conflict", () => contradictions(document.uri).length && contradictions(document.uri));
    assert.strictEqual(document.getText(found.range), "r.Split({ v1: 50%, v2: 50% })");
  },

  async "completion offers what the specs define"() {
    const document = await show(inFolder("shop.m4"));
    const list = await vscode.commands.executeCommand("vscode.executeCompletionItemProvider", document.uri, place(document, "r.Split", 2), ".");
    const labels = list.items.map((item) => (typeof item.label === "string" ? item.label : item.label.label));
    assert.ok(labels.some((label) => label.startsWith("SetHeader")), labels.join());
    assert.ok(labels.some((label) => label.startsWith("DropRequest")), labels.join());
  },

  async "hover shows the documentation"() {
    const document = await show(inFolder("shop.m4"));
    const hovers = await vscode.commands.executeCommand("vscode.executeHoverProvider", document.uri, place(document, "send_some"));
    const text = hovers.flatMap((hover) => hover.contents).map((content) => content.value ?? content).join("\n");
    assert.match(text, /A fifth of what e sends to f tries the new version\./);
  },

  async "a graph file is completed and explained"() {
    const document = await vscode.workspace.openTextDocument(inFolder("shop.graph.yaml"));
    const labels = async () => {
      const at = place(document, "[web, f]", 6);
      const list = await vscode.commands.executeCommand("vscode.executeCompletionItemProvider", document.uri, at);
      return list.items.map((item) => (typeof item.label === "string" ? item.label : item.label.label));
    };
    await until("services", async () => {
      const offered = await labels();
      return ["e", "f", "web"].every((name) => offered.includes(name));
    });
    const hovers = await vscode.commands.executeCommand("vscode.executeHoverProvider", document.uri, place(document, "entry", 1));
    const text = hovers.flatMap((hover) => hover.contents).map((content) => content.value ?? content).join("\n");
    assert.match(text, /Outside traffic comes in here/);
    const call = place(document, "[web, e]", 2);
    const actions = await vscode.commands.executeCommand("vscode.executeCodeActionProvider", document.uri, new vscode.Range(call, call), undefined, 10);
    const created = actions.find((action) => action.title === "Create policy `web_to_e` for this call");
    assert.ok(created, actions.map((action) => action.title).join());
    const [[file, edits]] = created.edit.entries();
    assert.match(file.path, /\.m4$/);
    assert.match(edits[0].newText, /policy web_to_e \(HttpRequest h\) on \* -> web -> e/);
  },

  async "artifacts are offered at a policy"() {
    const document = await show(inFolder("shop.m4"));
    const at = place(document, "send_some");
    const actions = await vscode.commands.executeCommand("vscode.executeCodeActionProvider", document.uri, new vscode.Range(at, at), "source");
    const titles = actions.map((action) => action.title);
    assert.ok(titles.includes("Emit sidecar artifacts"), titles.join());
    assert.ok(titles.includes("Emit eBPF artifacts"), titles.join());
  },

  async "lenses and hints say what is known of a policy"() {
    const document = await show(inFolder("shop.m4"));
    const titles = async () => {
      const lenses = await vscode.commands.executeCommand("vscode.executeCodeLensProvider", document.uri, 10);
      return lenses.filter((lens) => lens.command?.command === "m4.ui.plan").map((lens) => lens.command.title);
    };
    await until("lenses", async () => (await titles()).join() === "1 path · 1 conflict,2 paths");
    const whole = new vscode.Range(0, 0, document.lineCount, 0);
    const hints = await vscode.commands.executeCommand("vscode.executeInlayHintProvider", document.uri, whole);
    const labels = hints.map((hint) => hint.label);
    assert.deepStrictEqual(labels, ["1 path", "2 paths", "name:", "value:"]);
  },

  async "the quick fix removes the conflict at both places"() {
    const document = await show(inFolder("shop.m4"));
    const [found] = contradictions(document.uri);
    const actions = await vscode.commands.executeCommand("vscode.executeCodeActionProvider", document.uri, found.range, "quickfix");
    const fix = actions.find((action) => /^Let .send_some. override .even.$/.test(action.title));
    assert.ok(fix, actions.map((action) => action.title).join());
    assert.ok(await vscode.workspace.applyEdit(fix.edit));
    assert.match(document.getText(), /overrides even/);
    await until("no conflict", () => contradictions(document.uri).length === 0 && contradictions(inFolder("even.m4")).length === 0);
    await document.save();
  },

  async "the definition of a policy is found in the other file"() {
    const document = await show(inFolder("shop.m4"));
    const places = await vscode.commands.executeCommand("vscode.executeDefinitionProvider", document.uri, place(document, "overrides even", "overrides ".length + 1));
    const uris = places.map((found) => (found.targetUri ?? found.uri).path);
    assert.deepStrictEqual(uris, [inFolder("even.m4").path]);
  },

  async "the server's commands plan and build"() {
    const plan = await vscode.commands.executeCommand("m4.plan", folder().toString());
    assert.match(plan.text, /envoy/);
    const built = await vscode.commands.executeCommand("m4.build", inFolder("shop.m4").toString());
    assert.ok(built.files.length > 0);
    for (const file of built.files) {
      assert.ok(fs.existsSync(path.resolve(built.folder, file)), file);
    }
  },

  async "a policy is evaluated, with the request that was last used"() {
    const document = await show(inFolder("shop.m4"));
    const lenses = await vscode.commands.executeCommand("vscode.executeCodeLensProvider", document.uri, 10);
    const lens = lenses.find((one) => one.command?.title === "Evaluate" && document.lineAt(one.range.start.line).text.includes("label"));
    const found = await vscode.commands.executeCommand(lens.command.command, ...lens.command.arguments);
    assert.strictEqual(found.request, 'GET "/" on web -> e with header["x-user-group"] = "beta"');
    assert.deepStrictEqual(found.notes.map((note) => [note.policy, note.fired]), [["label", true]]);
    await until("a panel", () => vscode.window.tabGroups.all.some((group) => group.tabs.some((tab) => tab.label === "M4: Evaluate")));
    const other = found.request.replace("beta", "gold");
    await vscode.commands.executeCommand("m4.ui.evaluate", document.uri, "label", other);
    const again = await vscode.commands.executeCommand(lens.command.command, ...lens.command.arguments);
    assert.strictEqual(again.request, other);
    await vscode.commands.executeCommand("m4.ui.clear");
    await vscode.commands.executeCommand("workbench.action.closeAllEditors");
  },

  async "an artifact follows the edit and leads back to its policy"() {
    const document = await show(inFolder("shop.m4"));
    const uri = await vscode.commands.executeCommand("m4.ui.preview", document.uri.toString(), "label");
    assert.strictEqual(uri.path, "/envoy/web/envoy.yaml");
    const artifact = await vscode.workspace.openTextDocument(uri);
    assert.match(artifact.getText(), /x-tier/);
    const lenses = await vscode.commands.executeCommand("vscode.executeCodeLensProvider", uri, 10);
    const back = lenses.find((lens) => lens.command.title.startsWith("← label: SetHeader"));
    await vscode.commands.executeCommand(back.command.command, ...back.command.arguments);
    const editor = await until("the policy", () => vscode.window.activeTextEditor?.document.uri.path === document.uri.path && vscode.window.activeTextEditor);
    assert.match(document.lineAt(editor.selection.active.line).text, /r\.SetHeader/);
    const links = await vscode.commands.executeCommand("vscode.executeLinkProvider", uri);
    assert.ok(links.some((link) => link.target.path === document.uri.path), "links, too");
    const edit = new vscode.WorkspaceEdit();
    const at = place(document, "x-tier");
    edit.replace(document.uri, new vscode.Range(at, at.translate(0, "x-tier".length)), "x-rank");
    await vscode.workspace.applyEdit(edit);
    await until("the artifact follows", () => /x-rank/.test(artifact.getText()) && !/x-tier/.test(artifact.getText()));
    await vscode.commands.executeCommand("undo");
    await vscode.commands.executeCommand("workbench.action.closeAllEditors");
  },

  async "the map opens, and the server says what is in it"() {
    await show(inFolder("shop.m4"));
    const { meshes } = await vscode.commands.executeCommand("m4.map");
    assert.deepStrictEqual(meshes.map((mesh) => mesh.mesh), ["shop"]);
    await vscode.commands.executeCommand("m4.ui.map");
    await until("a panel", () => vscode.window.tabGroups.all.some((group) => group.tabs.some((tab) => tab.label === "M4: Map")));
    await vscode.commands.executeCommand("workbench.action.closeAllEditors");
  },

  async "what is deployed is shown in a document that cannot be changed"() {
    const document = await show(inFolder("shop.m4"));
    await vscode.commands.executeCommand("m4.ui.status");
    const editor = await until("the status", () => vscode.window.visibleTextEditors.find((one) => one.document.uri.scheme === "m4-status"));
    assert.strictEqual(editor.document.uri.path, "/Status of shop.m4");
    assert.strictEqual(editor.document.getText().trim(), "nothing is deployed");
    const deployed = await vscode.commands.executeCommand("m4.deploy", document.uri.toString(), "local");
    assert.ok(deployed.ok, deployed.message);
    try {
      await vscode.commands.executeCommand("m4.ui.status", document.uri.toString());
      await until("what runs", () => /envoy/.test(editor.document.getText()));
    } finally {
      await vscode.commands.executeCommand("m4.undeploy", document.uri.toString());
    }
    await vscode.commands.executeCommand("m4.ui.status", document.uri.toString());
    await until("nothing", () => editor.document.getText().trim() === "nothing is deployed");
    await vscode.commands.executeCommand("workbench.action.closeAllEditors");
  },

  async "what a dataplane does not take is shown after a save, unless the setting turns that off"() {
    const own = inFolder("envoy");
    fs.cpSync(path.join(process.env.M4_SPECS, "envoy"), own.fsPath, { recursive: true });
    const template = await vscode.workspace.openTextDocument(vscode.Uri.joinPath(own, "envoy.yaml.j2"));
    const rejected = () => findings(template.uri, "rejected-artifact");
    const wanted = async (value) => {
      await vscode.workspace.getConfiguration("m4").update("validateArtifacts", value, vscode.ConfigurationTarget.Workspace);
    };
    const at = place(template, "codec_type: AUTO", "codec_type: ".length);
    const edit = new vscode.WorkspaceEdit();
    edit.replace(template.uri, new vscode.Range(at, at.translate(0, "AUTO".length)), "HTTP17");
    await vscode.workspace.applyEdit(edit);
    assert.ok(await template.save());
    const [found] = await until("what is refused", () => rejected().length > 0 && rejected());
    assert.match(found.message, /HTTP17/);
    assert.strictEqual(found.range.start.line, at.line);
    await wanted(false);
    await until("nothing is said any more", () => rejected().length === 0);
    await wanted(undefined); // it is on if nobody has set it
    await until("it is said again", () => rejected().length > 0);
    fs.rmSync(own.fsPath, { recursive: true });
    await until("what is not there is no more refused", () => rejected().length === 0);
    await vscode.commands.executeCommand("workbench.action.closeAllEditors");
  },

  async "only files of ours are claimed"() {
    const now = (uri) => vscode.workspace.textDocuments.find((document) => document.uri.path === uri.path)?.languageId;
    const samples = (kind) =>
      fs.readdirSync(path.join(process.env.M4_DETECT, kind)).map((name) => vscode.Uri.file(path.join(process.env.M4_DETECT, kind, name)));
    for (const uri of [...samples("gnu"), ...samples("ours")]) {
      await show(uri);
    }
    for (const uri of samples("ours")) {
      await until(`${uri.path} is claimed`, () => now(uri) === "m4");
    }
    // The extension looked at these before, in the order in which they were opened.
    for (const uri of samples("gnu")) {
      assert.ok(now(uri) !== undefined && now(uri) !== "m4", uri.path);
      assert.deepStrictEqual(vscode.languages.getDiagnostics(uri), [], uri.path);
      const edits = await vscode.commands.executeCommand("vscode.executeFormatDocumentProvider", uri, { tabSize: 4, insertSpaces: true });
      assert.deepStrictEqual(edits ?? [], [], uri.path);
    }
    await vscode.commands.executeCommand("workbench.action.closeAllEditors");
  },

  async "a language that was chosen by hand stays"() {
    const document = await show(inFolder("shop.m4"));
    await until("claimed", () => vscode.window.activeTextEditor.document.languageId === "m4");
    const chosen = await vscode.languages.setTextDocumentLanguage(document, "plaintext");
    // What is opened after it is claimed after it would have been.
    await show(inFolder("even.m4"));
    await until("the next one is claimed", () => vscode.window.activeTextEditor.document.languageId === "m4");
    assert.strictEqual(chosen.languageId, "plaintext");
    await vscode.languages.setTextDocumentLanguage(chosen, "m4");
  },

  async "a server that dies is started again"() {
    const document = await show(inFolder("shop.m4"));
    const pid = () => Number(fs.readFileSync(process.env.M4_SERVER_PID, "utf8"));
    const first = pid();
    process.kill(first, "SIGKILL");
    await until("another server", () => pid() !== first);
    const hovers = await until("an answer", async () => {
      const found = await vscode.commands.executeCommand("vscode.executeHoverProvider", document.uri, place(document, "send_some"));
      return found.length > 0 && found;
    });
    assert.ok(hovers.length > 0);
  },
};

exports.run = async function run() {
  for (const [name, check] of Object.entries(checks)) {
    await check();
    console.log(`ok: ${name}`);
  }
};
