/**
 * The map of a mesh, in a webview of VS Code or in a page by itself: services and calls, the elements of the plan, the
 * call paths of the policy that is selected, conflicts in red, and live counts while the mesh is deployed. Everything can
 * be done with the keyboard.
 */

import { layout as layOut, Graph } from "@dagrejs/dagre";
import cytoscape from "cytoscape";

import { type Conflict, hop, hops, hopsOf, type Location, matchedText, type Mesh, type Policy, type Service } from "./data";
import { countsOf, edgeText, type Live, passing, pause, STALE, stateText, totals, width } from "./live";
import { colors, STYLE, stylesheet } from "./style";

declare function acquireVsCodeApi(): { postMessage(message: unknown): void };

/** More services than these are laid out by the quicker way, and drawn coarsely while the map moves. */
const MANY = 150;

const editor = typeof acquireVsCodeApi === "function" ? acquireVsCodeApi() : undefined;
let meshes: readonly Mesh[] = [];
let mesh: Mesh | undefined;
let drawn: cytoscape.Core | undefined;
let shape = ""; // of the graph that is laid out
let selected = "";
let live: Live | undefined;
let answered = 0; // when, in milliseconds

function make<Tag extends keyof HTMLElementTagNameMap>(tag: Tag, attributes: Readonly<Record<string, string>> = {}, ...inside: (Node | string)[]): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    made.setAttribute(name, value);
  }
  made.append(...inside);
  return made;
}

const ABOUT = "Service graph; the lists beside it say the same";
const canvas = make("div", { id: "map", role: "img", "aria-label": ABOUT, tabindex: "0" });
const choose = make("select", { "aria-label": "Mesh" });
const filter = make("input", { type: "search", placeholder: "Find a policy or a service", "aria-label": "Find a policy or a service" });
const facts = make("p", { class: "quiet" });
const state = make("p", { id: "live", role: "status", hidden: "" });
const legend = make("p", { id: "legend" }, ...["proxy", "kernel", "both", "conflict", "allowed", "ended"].map((kind) => make("span", { class: kind }, kind)));
const list = make("div", { id: "list" });
const details = make("div", { id: "details", "aria-live": "polite" });
const counts = make("div", { id: "counts" }); // beside what is read out: it changes all the time

function start(): void {
  const given = document.getElementById("data")?.textContent; // of a page by itself
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  document.body.replaceChildren(canvas, make("aside", {}, choose, filter, facts, state, legend, list, details, counts));
  choose.addEventListener("change", () => { show(meshes.find((one) => one.mesh === choose.value)); });
  filter.addEventListener("input", fill);
  canvas.addEventListener("keydown", onKey);
  list.addEventListener("keydown", onListKey);
  addEventListener("message", ({ data }: MessageEvent<{ meshes?: readonly Mesh[]; select?: string; live?: Live | null }>) => {
    if (data.meshes !== undefined) {
      take(data.meshes);
    }
    if (data.select !== undefined) {
      select(`policy ${data.select}`, false);
    }
    if (data.live !== undefined) {
      takeLive(data.live ?? undefined);
    }
  });
  new MutationObserver(() => drawn?.style(stylesheet(colors()))).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn?.style(stylesheet(colors())));
  setInterval(() => {
    if (live?.calls !== undefined && Date.now() - answered > STALE) {
      takeLive({ mesh: live.mesh, deployed: true, message: "the deployment does not answer" });
    }
  }, 1_000);
  if (given !== undefined) {
    const known = JSON.parse(given) as { meshes: readonly Mesh[]; live: string | null };
    take(known.meshes);
    if (known.live !== null) {
      void follow(known.live);
    }
  }
  editor?.postMessage({ ready: true });
}

function take(found: readonly Mesh[]): void {
  meshes = found;
  const before = mesh?.mesh;
  choose.replaceChildren(...found.map((one) => make("option", { value: one.mesh }, `mesh ${one.mesh}`)));
  choose.hidden = found.length < 2;
  show(found.find((one) => one.mesh === before) ?? found[0]);
}

function show(found: Mesh | undefined): void {
  if (found?.mesh !== mesh?.mesh) {
    live = undefined;
    editor?.postMessage({ shown: found?.mesh });
  }
  mesh = found;
  if (found === undefined) {
    facts.textContent = "There is no mesh.";
    return;
  }
  choose.value = found.mesh;
  const elements = found.services.flatMap((service) => service.elements).length;
  const plan = found.planned ? `, ${counted(elements, "element")}${found.bits > 0 ? `, tag of ${counted(found.bits, "bit")}` : ""}` : ", no plan";
  const policies = found.policies.length === 0 ? "" : `, ${found.policies.length === 1 ? "1 policy" : `${String(found.policies.length)} policies`}${plan}`;
  facts.textContent = `${counted(found.services.length, "service")}, ${counted(found.calls.length, "call")}${policies}`;
  legend.hidden = policies === "";
  draw(found);
  fill();
  select(selected, false);
  paint();
}

function counted(count: number, what: string): string {
  return `${String(count)} ${what}${count === 1 ? "" : "s"}`;
}

// --- the graph ----------------------------------------------------------------------------------------------------------

function draw(found: Mesh): void {
  const bad = hops(found.conflicts.map((conflict) => conflict.path));
  const known = new Set(found.services.map((service) => service.name));
  const nodes = found.services.map((service) => ({ data: { id: service.name, label: label(service), tier: tiers(service), ...size(label(service)) }, classes: service.external ? "external" : service.entry ? "entry" : "" }));
  const edges = found.calls
    .filter((call) => known.has(call.caller) && known.has(call.callee))
    .map((call) => ({ data: { id: hop(call.caller, call.callee), source: call.caller, target: call.callee }, classes: bad.has(hop(call.caller, call.callee)) ? "conflict" : "" }));
  const now = JSON.stringify([found.mesh, nodes.map((node) => [node.data.id, node.data.label]), edges.map((edge) => edge.data.id)]);
  if (drawn === undefined || now !== shape) {
    shape = now;
    drawn?.destroy();
    const many = found.services.length > MANY;
    drawn = cytoscape({
      container: canvas,
      elements: { nodes: placed(nodes, edges, many), edges },
      layout: { name: "preset", fit: true, padding: 24 },
      style: stylesheet(colors()),
      hideEdgesOnViewport: many,
      textureOnViewport: many,
      minZoom: 0.05,
      maxZoom: 4,
      boxSelectionEnabled: false,
    });
    drawn.on("tap", "node", ({ target }: cytoscape.EventObject) => { select(`service ${(target as cytoscape.NodeSingular).id()}`, false); });
    drawn.on("tap", "edge", ({ target }: cytoscape.EventObject) => { select(`call ${(target as cytoscape.EdgeSingular).id()}`, false); });
    drawn.on("tap", ({ target }: cytoscape.EventObject) => { if (target === drawn) { select("", false); } });
    drawn.on("dbltap", "node, edge", () => { open(sourceOf(selected)); });
    return;
  }
  drawn.batch(() => {
    for (const edge of edges) {
      drawn?.getElementById(edge.data.id).toggleClass("conflict", edge.classes === "conflict");
    }
    for (const node of nodes) {
      drawn?.getElementById(node.data.id).data(node.data);
    }
  });
}

interface Labelled {
  readonly data: { readonly id: string; readonly label: string; readonly tier: string; readonly width: number; readonly height: number };
  readonly classes: string;
}

/** Positions for the services: callers left of those they call, where there is no circle. */
function placed(nodes: readonly Labelled[], edges: readonly { data: { source: string; target: string } }[], many: boolean): (Labelled & { position: { x: number; y: number } })[] {
  const graph = new Graph({ directed: true });
  graph.setGraph({ rankdir: "LR", nodesep: 18, ranksep: 70, ranker: many ? "longest-path" : "network-simplex" });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const node of nodes) {
    graph.setNode(node.data.id, { width: node.data.width, height: node.data.height });
  }
  for (const edge of edges) {
    graph.setEdge(edge.data.source, edge.data.target);
  }
  layOut(graph);
  const placed = nodes.map((node) => {
    const { x, y } = graph.node(node.data.id) as { x: number; y: number };
    return { ...node, position: { x, y } };
  });
  return many ? wrapped(placed) : placed;
}

/** Columns that are much too long for a window, as several beside each other, in the same order. */
function wrapped<Placed extends Labelled & { position: { x: number; y: number } }>(nodes: readonly Placed[]): Placed[] {
  const rows = Math.ceil(1.2 * Math.sqrt(nodes.length));
  const columns = new Map<number, Placed[]>();
  for (const node of nodes) {
    columns.set(node.position.x, [...(columns.get(node.position.x) ?? []), node]);
  }
  let left = 0;
  return [...columns].sort(([a], [b]) => a - b).flatMap(([, column]) => {
    const ordered = column.sort((a, b) => a.position.y - b.position.y);
    const parts = Math.ceil(ordered.length / rows);
    const height = Math.ceil(ordered.length / parts);
    const width = Math.max(...ordered.map((node) => node.data.width)) + 24;
    const first = left + width / 2;
    left += parts * width + 60;
    return ordered.map((node, at) => ({ ...node, position: { x: first + (at % parts) * width, y: 52 * (Math.floor(at / parts) - height / 2) } }));
  });
}

/** How large a box is that holds a text; its letters are about 7 wide. */
function size(text: string): { width: number; height: number } {
  const lines = text.split("\n");
  return { width: 24 + 7 * Math.max(...lines.map((line) => line.length)), height: 14 + 15 * lines.length };
}

function label(service: Service): string {
  const dataplanes = service.elements.map((element) => element.dataplane).join(" + ");
  return dataplanes === "" ? service.name : `${service.name}\n${dataplanes}`;
}

function tiers(service: Service): string {
  return [...new Set(service.elements.map((element) => element.tier))].sort().join(" ");
}

// --- live counts --------------------------------------------------------------------------------------------------------

/** Asks at an address for as long as somebody looks at the page. */
async function follow(address: string): Promise<void> {
  for (;;) {
    if (document.hidden) {
      takeLive(undefined);
      await new Promise((resolve) => { document.addEventListener("visibilitychange", resolve, { once: true }); });
      continue;
    }
    try {
      takeLive(await (await fetch(address)).json() as Live);
    } catch {
      takeLive({ mesh: mesh?.mesh ?? "", deployed: false, message: "what served this page has ended" });
    }
    await new Promise((resolve) => setTimeout(resolve, pause(live)));
  }
}

/** Counts of now, or words instead of them; nothing when they are not asked for. */
function takeLive(found: Live | undefined): void {
  if (found !== undefined && found.mesh !== mesh?.mesh) {
    return;
  }
  answered = Date.now();
  const before = rowsOf(live);
  live = found;
  if (rowsOf(live) !== before) {
    fill();
  }
  paint();
}

function rowsOf(of: Live | undefined): string {
  return (of?.calls ?? []).map((call) => hop(call.caller, call.callee)).join();
}

/** Writes what is counted into what is drawn. */
function paint(): void {
  const text = live === undefined ? "" : stateText(live);
  if (state.textContent !== text) { // it is read out
    state.textContent = text;
  }
  state.hidden = live === undefined;
  state.className = live?.deployed === true && live.message !== "" ? "error" : "";
  legend.classList.toggle("counted", live?.calls !== undefined);
  const calls = new Map((live?.calls ?? []).map((call) => [hop(call.caller, call.callee), call]));
  drawn?.batch(() => {
    drawn?.edges().forEach((edge) => {
      const call = calls.get(edge.id());
      const now = call === undefined || call.rate === 0 ? undefined : { flow: edgeText(call), width: width(call), passing: passing(call) };
      if (now === undefined && edge.data("flow") !== undefined) {
        edge.removeData("flow width passing");
      } else if (now !== undefined) {
        edge.data(now);
      }
    });
  });
  canvas.dataset.flows = JSON.stringify(Object.fromEntries([...calls.values()].filter((call) => call.rate > 0).map((call) => [`${call.caller} → ${call.callee}`, edgeText(call)])));
  for (const button of list.querySelectorAll<HTMLElement>('[data-id^="call "]')) {
    const call = calls.get((button.dataset.id ?? "").slice("call ".length));
    (button.lastElementChild ?? button).textContent = call === undefined ? "" : totals(call);
  }
  count();
}

/** What is counted where something is selected. */
function count(): void {
  const { policy, service } = find(selected);
  const [kind, name] = [selected.split(" ")[0], selected.slice(selected.indexOf(" ") + 1)];
  const call = kind === "call" ? JSON.parse(name) as [string, string] : undefined;
  const found = policy ?? service ?? call;
  const parts = found === undefined ? [] : countsOf(live, { policy: policy?.name, service: service?.name, call });
  counts.replaceChildren(...parts.flatMap(({ title, rows }) => [make("h3", {}, title), make("ul", {}, ...rows.map((one) => make("li", {}, one)))]));
}

// --- the lists ----------------------------------------------------------------------------------------------------------

function fill(): void {
  const wanted = filter.value.trim().toLowerCase();
  const named = (name: string): boolean => name.toLowerCase().includes(wanted);
  const part = (title: string, rows: HTMLElement[]): Node[] => (rows.length === 0 ? [] : [make("h2", {}, title), ...rows]);
  const focused = (document.activeElement as HTMLElement | null)?.dataset.id;
  list.replaceChildren(
    ...part("Conflicts", (mesh?.conflicts ?? []).map((conflict, at) => ({ conflict, at })).filter(({ conflict }) => conflict.policies.some(named)).map(({ conflict, at }) => row(`conflict ${String(at)}`, conflict.policies.join(" ↔ "), conflict.code, "error"))),
    ...part("Policies", (mesh?.policies ?? []).filter((policy) => named(policy.name)).map((policy) => row(`policy ${policy.name}`, policy.name, matchedText(policy), policy.conflicts > 0 ? "error" : ""))),
    ...part("Calls", (live?.calls ?? []).filter((call) => named(call.caller) || named(call.callee)).map((call) => row(`call ${hop(call.caller, call.callee)}`, `${call.caller} → ${call.callee}`, totals(call), ""))),
    ...part("Services", (mesh?.services ?? []).filter((service) => named(service.name)).map((service) => row(`service ${service.name}`, service.name, service.elements.map((element) => element.dataplane).join(" + "), ""))),
  );
  if (focused !== undefined) {
    list.querySelector<HTMLElement>(`[data-id="${CSS.escape(focused)}"]`)?.focus();
  }
  mark();
}

function row(id: string, name: string, more: string, kind: string): HTMLElement {
  const made = make("button", { type: "button", "data-id": id, class: kind }, make("span", {}, name), make("span", { class: "quiet" }, more));
  made.addEventListener("click", () => { select(id, true); });
  made.addEventListener("dblclick", () => { open(sourceOf(id)); });
  return made;
}

function onListKey(event: KeyboardEvent): void {
  const rows = [...list.querySelectorAll("button")];
  const at = rows.indexOf(document.activeElement as HTMLButtonElement);
  const to = event.key === "ArrowDown" ? at + 1 : event.key === "ArrowUp" ? at - 1 : event.key === "Home" ? 0 : event.key === "End" ? rows.length - 1 : undefined;
  if (to !== undefined) {
    event.preventDefault();
    rows[to]?.focus();
    rows[to]?.click();
  }
}

/** Arrows move the map, + and - zoom, 0 shows all of it, Enter opens what is selected, Escape selects nothing. */
function onKey(event: KeyboardEvent): void {
  const moves: Readonly<Record<string, [number, number]>> = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
  const move = moves[event.key];
  if (move !== undefined) {
    drawn?.panBy({ x: move[0], y: move[1] });
  } else if (event.key === "+" || event.key === "-") {
    const level = (drawn?.zoom() ?? 1) * (event.key === "+" ? 1.25 : 0.8);
    drawn?.zoom({ level, renderedPosition: { x: canvas.clientWidth / 2, y: canvas.clientHeight / 2 } });
  } else if (event.key === "0") {
    drawn?.fit(undefined, 24);
  } else if (event.key === "Enter") {
    open(sourceOf(selected));
  } else if (event.key === "Escape") {
    select("", false);
  } else {
    return;
  }
  event.preventDefault();
}

// --- what is selected ---------------------------------------------------------------------------------------------------

function find(id: string): { policy?: Policy | undefined; service?: Service | undefined; conflict?: Conflict | undefined; call?: Mesh["calls"][number] | undefined } {
  const name = id.slice(id.indexOf(" ") + 1);
  switch (id.split(" ")[0]) {
    case "policy": return { policy: mesh?.policies.find((one) => one.name === name) };
    case "service": return { service: mesh?.services.find((one) => one.name === name) };
    case "conflict": return { conflict: mesh?.conflicts[Number(name)] };
    case "call": return { call: mesh?.calls.find((one) => hop(one.caller, one.callee) === name) };
    default: return {};
  }
}

function sourceOf(id: string): Location | null {
  const { policy, service, conflict, call } = find(id);
  return (policy ?? service ?? conflict ?? call)?.source ?? null;
}

function select(id: string, centre: boolean): void {
  selected = id;
  mark();
  const { policy, service, conflict, call } = find(id);
  const marked = policy !== undefined && mesh !== undefined ? hopsOf(mesh, policy) : conflict !== undefined ? hops([conflict.path]) : new Set(call === undefined ? [] : [hop(call.caller, call.callee)]);
  const ends = new Set<string>(service === undefined ? [] : [service.name]);
  for (const one of marked) {
    (JSON.parse(one) as [string, string]).forEach((end) => ends.add(end));
  }
  drawn?.batch(() => {
    drawn?.elements().removeClass("picked dimmed");
    if (ends.size > 0) {
      drawn?.elements().addClass("dimmed");
      drawn?.edges().filter((edge) => marked.has(edge.id())).removeClass("dimmed").addClass("picked");
      drawn?.nodes().filter((node) => ends.has(node.id())).removeClass("dimmed").addClass("picked");
    }
  });
  const shown = [...marked].map((one) => (JSON.parse(one) as [string, string]).join(" → "));
  canvas.setAttribute("aria-label", `${ABOUT}${shown.length === 0 ? "" : `. Marked: ${shown.join(", ")}`}`);
  if (service !== undefined && centre) {
    drawn?.animate({ center: { eles: drawn.getElementById(service.name) }, duration: 150 });
  }
  describe(id);
  count();
}

function mark(): void {
  for (const button of list.querySelectorAll("button")) {
    const now = button.dataset.id === selected;
    button.setAttribute("aria-pressed", String(now));
    if (now) {
      button.scrollIntoView({ block: "nearest" });
    }
  }
}

function describe(id: string): void {
  const { policy, service, conflict, call } = find(id);
  const lines = (rows: readonly (Node | string)[]): Node => make("ul", {}, ...rows.map((one) => make("li", {}, one)));
  if (policy !== undefined) {
    const more = policy.matched === null || (policy.matched >= 0 && policy.matched <= policy.paths.length) ? [] : ["…"];
    details.replaceChildren(heading(policy.name, policy.source), make("p", { class: "quiet" }, [policy.owner, matchedText(policy)].filter(Boolean).join(" · ")), lines([...policy.paths.map((path) => path.join(" → ")), ...more]));
  } else if (service !== undefined) {
    const known = [...(service.entry ? ["entry"] : []), ...service.versions, ...Object.entries(service.labels).map(([key, value]) => `${key}: ${value}`)];
    const elements = service.elements.flatMap((element) => [make("h3", { title: element.reasons.join("\n") }, `${element.dataplane} (${element.tier})`), lines(element.runs.map((runs) => link(`${runs.policy}: ${runs.operation} at ${runs.side} of ${runs.hop.join(" → ")}`, runs.source)))]);
    details.replaceChildren(heading(service.name, service.source), make("p", { class: "quiet" }, known.join(", ")), ...elements);
  } else if (conflict !== undefined) {
    details.replaceChildren(heading(conflict.policies.join(" ↔ "), conflict.source), make("p", { class: "error" }, conflict.message));
  } else if (call !== undefined) {
    details.replaceChildren(heading(`${call.caller} → ${call.callee}`, call.source));
  } else {
    details.replaceChildren();
  }
}

function heading(text: string, source: Location | null): Node {
  return make("h2", {}, link(text, source));
}

function link(text: string, source: Location | null): Node | string {
  if (source === null) {
    return text;
  }
  const { line, character } = source.range.start;
  const file = decodeURIComponent(source.uri).replace(/^file:\/\//, "");
  const title = `${file}:${String(line + 1)}`;
  if (editor === undefined) {
    return make("a", { href: `vscode://file${encodeURI(file)}:${String(line + 1)}:${String(character + 1)}`, title }, text);
  }
  const made = make("button", { type: "button", class: "link", title }, text); // VS Code follows links by itself
  made.addEventListener("click", () => { open(source); });
  return made;
}

function open(source: Location | null): void {
  if (source !== null) {
    editor?.postMessage({ open: source });
  }
}

start();
