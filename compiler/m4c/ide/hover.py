"""Hover: what the name under the cursor stands for, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from m4c import project
from m4c.analysis.effects import names_version
from m4c.ide import render
from m4c.ide.graphfile import graph_key_at, is_graph
from m4c.ide.marks import life
from m4c.ide.plans import element_lines, mark_lines, plan_lines
from m4c.ide.symbols import Found, Symbol, declarations, symbol_at
from m4c.ide.usage import keys_used
from m4c.paths.callpath import Hop
from m4c.paths.pattern import compile_pattern
from m4c.paths.product import count_paths, some_paths
from m4c.semantics.model import (
    Atom,
    AttrKey,
    Cond,
    Dataplane,
    Entity,
    Graph,
    Operation,
    Policy,
    StateCondition,
    atoms,
)
from m4c.semantics.model import Mesh as MeshValue
from m4c.syntax import tree as t
from m4c.workspace import Workspace

SHOWN_PATHS = 5


@dataclass(frozen=True, slots=True)
class Hover:
    """Markdown, and the span of the name that it is about: offsets in the file."""

    text: str
    start: int
    end: int


def hover(workspace: Workspace, file: str, offset: int) -> Hover | None:
    """What the name at an offset stands for; None where nothing is named."""
    found = symbol_at(workspace, file, offset)
    if found is None:
        key = graph_key_at(workspace.text(file), offset) if is_graph(workspace, file) else None
        return Hover(*key) if key is not None else None
    parts = _PAGES[found.symbol.kind](workspace, found) if found.symbol.kind in _PAGES else []
    text = "\n\n".join(p for p in parts if p)
    return Hover(text, found.start, found.end) if text else None


# --- specs ------------------------------------------------------------------------------------------------------------


def _entity_of(workspace: Workspace, name: str) -> Entity | None:
    return project.schema(workspace.db).entities.get(name)


def _entity(workspace: Workspace, found: Found) -> list[str]:
    entity = _entity_of(workspace, found.symbol.name)
    if entity is None:
        return []
    protocols = f"In {_ticked(entity.protocols)}" if entity.protocols is not None else ""
    return [render.code(render.entity(entity)), entity.doc, protocols, *_parts(entity)]


def _parts(entity: Entity) -> list[str]:
    """What an entity, or a kind of state, has."""
    parts = {
        "Attributes": [*entity.views, *entity.attributes],
        "Operations": [*entity.operations],
        "Conditions": [*entity.conditions],
    }
    return [f"{what}: {_ticked(names)}" for what, names in parts.items() if names]


def _variable(workspace: Workspace, found: Found) -> list[str]:
    ref = next((r for r in project.decls(workspace.db, found.file) if r.key == found.decl), None)
    decl = ref.parsed.decl if ref else None
    if not isinstance(decl, t.PolicyDecl):
        return []
    entity = _entity_of(workspace, decl.entity.text)
    return [render.code(f"{decl.entity.text} {decl.var.text}"), entity.doc if entity else ""]


def _attribute(workspace: Workspace, found: Found) -> list[str]:
    entity = _entity_of(workspace, found.symbol.scope)
    attribute = entity.attributes.get(found.symbol.name) if entity else None
    if entity is not None and found.symbol.name in entity.views:
        whole = _entity_of(workspace, entity.views[found.symbol.name])
        declared = render.code(f"attribute {found.symbol.name}: {entity.views[found.symbol.name]};")
        return [declared, whole.doc, *_parts(whole)] if whole is not None else []
    if entity is None or attribute is None:
        return []
    writers = [o.name for o in entity.operations.values() if any(w.attribute == attribute.name for w in o.writes)]
    facts = []
    if attribute.merge is None and writers:
        facts.append("Two policies that write different values to it contradict each other.")
    if writers:
        facts.append(f"Written by {_ticked(writers)}.")
    if attribute.travels:
        facts.append("What a hop writes to it, the later ones of the chain begin with.")
        named = sorted(key for (of, key) in keys_used(workspace.db) if of == f"{attribute.entity}.{attribute.name}")
        facts.append(f"Named in the workspace: {_ticked(named)}." if named else "")
    facts.append(_readable(workspace, found, attribute.entity, attribute.name))
    return [render.code(render.attribute(attribute)), attribute.doc, " ".join(f for f in facts if f)]


def _key(workspace: Workspace, found: Found) -> list[str]:
    """A header, a mark: who writes it, and who reads it."""
    entity, _, name = found.symbol.scope.partition(".")
    holder = _entity_of(workspace, entity)
    attribute = holder.attributes.get(name) if holder is not None else None
    mesh = project.mesh_of_file(workspace.db, found.file)[0]
    program = project.program(workspace.db, mesh) if mesh is not None else None
    if attribute is None or program is None:
        return []
    attr = AttrKey(entity, name, found.symbol.name)
    writing = [p for p in program.policies if any(w.attr == attr for c in p.calls for w in c.writes)]
    reading = [p for p in program.policies if any(attr in _read(c) for c in (p.when, *(c.guard for c in p.calls)))]
    declared = render.code(f"{attr}: {attribute.type}{' travels' if attribute.travels else ''}")
    if attribute.travels and mesh is not None:
        planned = mark_lines(workspace, mesh, attr)
        return [declared, *_travelling(workspace, mesh, writing, reading), *planned]
    facts = [f"Written by {_ticked(p.name for p in writing)}." if writing else "No policy writes it."]
    facts += [f"Read by {_ticked(p.name for p in reading)}."] if reading else []
    return [declared, " ".join(facts)]


def _travelling(workspace: Workspace, mesh: str, writing: list[Policy], reading: list[Policy]) -> list[str]:
    """Of what travels also where that is: the hops where it is written, asked for, and carried in between."""
    if not writing or not reading:
        said = [f"Written by {_ticked(p.name for p in writing)}, and asked for by no policy." if writing else ""]
        return [*said, f"Read by {_ticked(p.name for p in reading)}, and written by no policy." if reading else ""]
    found = life(workspace.db, mesh, writing, reading)
    lines = [
        f"Written by {_ticked(p.name for p in writing)}{_on_hops(found.written)}.",
        f"Read by {_ticked(p.name for p in reading)}{_on_hops(found.asked)}.",
    ]
    if not found.known:
        return [*lines, "The graph is too large to look at all the ways between them here."]
    if not found.asked:
        return [*lines, "No chain of requests leads from a hop where it is written to a later one that asks for it."]
    return [*lines, f"It goes along{_on_hops(found.carried).removeprefix(' on')}."]


def _on_hops(hops: Collection[Hop]) -> str:
    shown = [f"`{caller or 'outside'} -> {callee}`" for caller, callee in hops]
    more = f" and {len(shown) - SHOWN_PATHS} more" if len(shown) > SHOWN_PATHS else ""
    return f" on {', '.join(shown[:SHOWN_PATHS])}{more}" if shown else ""


def _read(cond: Cond) -> set[AttrKey]:
    return {a.attr for a in atoms(cond) if isinstance(a, Atom)}


def _readable(workspace: Workspace, found: Found, entity: str, attribute: str) -> str:
    parts = []
    for d in _dataplanes_here(workspace, found.file):
        read = d.reads.get((entity, attribute))
        if read is not None:
            how = f" with {' '.join(f'`{c}`' for c in sorted(read.comparisons))}" if read.comparisons else ""
            where = f" at {read.sides[0]}" if len(read.sides) == 1 else ""
            parts.append(f"`{d.name}`{how}{where}")
    return f"Read by {'; '.join(parts)}." if parts else ""


def _operation(workspace: Workspace, found: Found) -> list[str]:
    entity = _entity_of(workspace, found.symbol.scope)
    operation = entity.operations.get(found.symbol.name) if entity else None
    if entity is None or operation is None:
        return []
    here = _dataplanes_here(workspace, found.file)
    supported = []
    for d in here:
        support = d.operations.get((operation.entity, operation.name))
        if support is not None:
            where = f" at {support.sides[0]}" if len(support.sides) == 1 else ""
            supported.append(f"`{d.name}`{where}")
    merges = []
    for name in dict.fromkeys(w.attribute for w in operation.writes):
        merge = entity.attributes[name].merge if name in entity.attributes else None
        merges.append(f"`{name}`: " + (f"merged by `{merge}`" if merge else "no merge"))
    runs = f"Supported by {', '.join(supported)}." if supported else "No dataplane of the mesh has it." if here else ""
    return [
        render.code(render.operation(operation, entity)),
        operation.doc,
        f"Happens at {operation.side}." if operation.side else "",
        f"Writes {'; '.join(merges)}." if merges else "",
        runs,
    ]


def _dataplanes_here(workspace: Workspace, file: str) -> list[Dataplane]:
    """The dataplanes of the file's mesh; all that are known outside of one."""
    db = workspace.db
    known = project.schema(db).dataplanes
    mesh = project.mesh_of_file(db, file)[0]
    checked = project.mesh(db, mesh) if mesh is not None else None
    return [known[d] for d in checked.mesh.dataplanes] if checked else list(known.values())


def _param(workspace: Workspace, found: Found) -> list[str]:
    entity_name, _, called_name = found.symbol.scope.rpartition(".")
    entity = _entity_of(workspace, entity_name or found.symbol.scope)
    called: Operation | StateCondition | Entity | None = entity
    if entity is not None and entity_name:
        called = entity.operations.get(called_name) or entity.conditions.get(called_name)
    param = next((p for p in called.params if p.name == found.symbol.name), None) if called else None
    if called is None or param is None:
        return []
    return [render.code(render.param(param)), f"A parameter of `{called.name}`.", called.doc]


def _condition(workspace: Workspace, found: Found) -> list[str]:
    entity = _entity_of(workspace, found.symbol.scope)
    condition = entity.conditions.get(found.symbol.name) if entity else None
    if entity is None or condition is None:
        return []
    here = _dataplanes_here(workspace, found.file)
    supported = [f"`{d.name}`" for d in here if (entity.name, condition.name) in d.conditions]
    runs = f"Supported by {', '.join(supported)}." if supported else "No dataplane of the mesh has it." if here else ""
    free = "It is asked once, when all before it holds; to the analyses the answer can be either."
    return [render.code(render.condition(condition)), condition.doc, free, runs]


def _enum(workspace: Workspace, found: Found) -> list[str]:
    enum = project.schema(workspace.db).enums.get(found.symbol.name)
    return [render.code(render.enum(enum)), enum.doc] if enum else []


def _enum_value(workspace: Workspace, found: Found) -> list[str]:
    enum = project.schema(workspace.db).enums.get(found.symbol.scope)
    if enum is None:
        return []
    last = "Terminal: nothing else happens to the request." if found.symbol.name in enum.terminal else ""
    return [render.code(f"{enum.name}.{found.symbol.name}"), last, enum.doc]


def _dataplane(workspace: Workspace, found: Found) -> list[str]:
    d = project.schema(workspace.db).dataplanes.get(found.symbol.name)
    if d is None:
        return []
    operations = _ticked(sorted({o for _, o in d.operations})) or "nothing"
    reads = _ticked(sorted({a for _, a in d.reads})) or "nothing"
    context = [f"reads at {', '.join(d.reads_context)}"] if d.reads_context else []
    context += [f"writes at {', '.join(d.writes_context)}"] if d.writes_context else []
    facts = [f"Speaks: {_ticked(d.speaks)}", f"Operations: {operations}", f"Reads: {reads}"]
    facts.append(f"Context: {'; '.join(context) or 'none'}")
    return [render.code(render.dataplane(d)), d.doc, "\n".join(f"- {f}" for f in facts)]


# --- meshes -----------------------------------------------------------------------------------------------------------


def _mesh(workspace: Workspace, found: Found) -> list[str]:
    db = workspace.db
    checked = project.mesh(db, found.symbol.name)
    if checked is None:
        return []
    mesh: MeshValue = checked.mesh
    graph = project.mesh_graph(db, mesh.name)
    policies = project.policy_names(db, mesh.name)
    facts = [f"- graph `{mesh.graph}`" if mesh.graph else "", f"- dataplanes {_ticked(mesh.dataplanes)}"]
    if graph is not None:
        facts.append(f"- {_counts(graph)}, {len(policies)} {'policy' if len(policies) == 1 else 'policies'}")
    return [render.code(f"mesh {mesh.name}"), _doc_of(workspace, found.symbol), "\n".join(f for f in facts if f)]


def _counts(graph: Graph) -> str:
    return f"{render.plural(len(graph.services), 'service')}, {render.plural(len(graph.calls), 'call')}"


def _graph_file(workspace: Workspace, found: Found) -> list[str]:
    """The path of a graph: how large it is, and where chains of requests begin."""
    graph = project.mesh_graph(workspace.db, found.decl.partition(":")[2])
    if graph is None:
        return []
    services = graph.services.values()
    begins = {
        "from outside": [s.name for s in services if s.entry],
        "by itself": [s.name for s in services if s.origin],
    }
    facts = [
        f"- chains begin {how} at {_ticked(names[:SHOWN_PATHS])}{_more(names)}"
        for how, names in begins.items()
        if names
    ]
    return [f"**graph of {_counts(graph)}**", "\n".join(facts)]


def _more(names: list[str]) -> str:
    return f" and {len(names) - SHOWN_PATHS} more" if len(names) > SHOWN_PATHS else ""


def _graph(workspace: Workspace, symbol: Symbol) -> Graph | None:
    return project.mesh_graph(workspace.db, symbol.scope.partition("/")[0])


def _service(workspace: Workspace, found: Found) -> list[str]:
    graph = _graph(workspace, found.symbol)
    service = graph.services.get(found.symbol.name) if graph else None
    if graph is None or service is None:
        return []
    callers = sorted({c.caller for c in graph.calls if c.callee == service.name})
    callees = sorted(set(graph.callees(service.name)))
    facts = [
        f"- versions {_ticked(service.versions)}" if service.versions else "",
        f"- labels {', '.join(f'`{k}: {v}`' for k, v in service.labels)}" if service.labels else "",
        f"- called by {_ticked(callers)}" if callers else "- called by no service",
        f"- calls {_ticked(callees)}" if callees else "- calls no service",
        f"- an entry{' (what is in front is trusted)' if service.trusted else ''}" if service.entry else "",
        "" if service.origin else "- never starts a chain by itself",
        _spoken(workspace, found.symbol.scope.partition("/")[0], service.protocol),
        "" if service.propagates else "- does not hand context on",
        "- outside of the mesh" if service.external else "",
        f"- {service.rps:g} requests a second from outside" if service.rps is not None else "",
    ]
    return [f"**service `{service.name}`** ({service.protocol})", "\n".join(f for f in facts if f)]


def _spoken(workspace: Workspace, mesh: str, protocol: str) -> str:
    """Which dataplanes of a mesh do not speak a protocol, if any."""
    checked, known = project.mesh(workspace.db, mesh), project.schema(workspace.db).dataplanes
    named = [known[n] for n in checked.mesh.dataplanes if n in known] if checked is not None else []
    deaf = [d.name for d in named if protocol not in d.speaks]
    return f"- speaks `{protocol}`, and {_ticked(deaf)} {'do' if len(deaf) > 1 else 'does'} not" if deaf else ""


def _version(workspace: Workspace, found: Found) -> list[str]:
    graph = _graph(workspace, found.symbol)
    service = graph.services.get(found.symbol.scope.partition("/")[2]) if graph else None
    if service is None or found.symbol.name not in service.versions:
        return []
    return [f"Version `{found.symbol.name}` of `{service.name}`, which has {_ticked(service.versions)}."]


def _group(workspace: Workspace, found: Found) -> list[str]:
    members = project.names(workspace.db, found.symbol.scope).groups.get(found.symbol.name)
    return [render.code(f"group {found.symbol.name} = {{ {', '.join(members)} }}")] if members else []


def _protocol(workspace: Workspace, found: Found) -> list[str]:
    """What there is in a protocol, and who speaks it."""
    name, schema = found.symbol.name, project.schema(workspace.db)
    carried = [e.name for e in schema.entities.values() if not e.state and name in (e.protocols or (name,))]
    speakers = schema.protocols.get(name, ())
    spoken = f"- spoken by {_ticked(speakers)}" if speakers else "- spoken by no dataplane: what is sent passes all by"
    return [f"**protocol `{name}`**", f"- what policies can be about in it: {_ticked(carried)}\n{spoken}"]


def _label(workspace: Workspace, found: Found) -> list[str]:
    graph = _graph(workspace, found.symbol)
    key = found.symbol.scope.partition("/")[2]
    name = found.symbol.name
    services = [
        s.name
        for s in (graph.services.values() if graph else ())
        if any((k == name and not key) or (k, v) == (key, name) for k, v in s.labels)
    ]
    what = f"`{key}: {name}`" if key else f"`{name}`"
    return [f"Services with the label {what}: {_ticked(services) or 'none'}."]


# --- policies ---------------------------------------------------------------------------------------------------------


def _policy(workspace: Workspace, found: Found) -> list[str]:
    db = workspace.db
    mesh, name = found.symbol.scope, found.symbol.name
    for ref in project.policy_refs(db, mesh or None):
        decl = ref.parsed.decl
        if isinstance(decl, t.PolicyDecl) and decl.name.text == name:
            head = ref.text[decl.name.start : decl.pattern.end]
            checked = project.policy(db, ref, mesh or None).policy
            paths = _paths(workspace, mesh, checked) if checked is not None else ""
            runs = plan_lines(workspace, mesh, name) if mesh else []
            where = "\n".join(("Runs at:", *(f"- {line}" for line in runs))) if runs else ""
            elements = element_lines(workspace, mesh, name) if runs else []
            why = "\n".join(("Elements:", *elements)) if elements else ""
            owner = f"Owner: {checked.owner}" if checked is not None and checked.owner else ""
            return [render.code(f"policy {head}"), decl.doc, owner, paths, where, why]
    return []


def _paths(workspace: Workspace, mesh: str, policy: Policy) -> str:
    """How many call paths the pattern matches, and the shortest of them."""
    graph = project.mesh_graph(workspace.db, mesh)
    if graph is None or not graph.services:
        return ""
    dfa = compile_pattern(policy.pattern, graph)
    count = count_paths(dfa, graph)
    if count == 0:
        return "No call path of the graph matches."
    some = some_paths(dfa, graph, SHOWN_PATHS)
    shown = [str(p) if names_version(policy.pattern) else p.by_service for p in some]
    total = "infinitely many call paths" if count is None else render.plural(count, "call path")
    more = ["- …"] if count is None or count > len(some) else []
    return "\n".join([f"Matches {total}:", *(f"- `{p}`" for p in shown), *more])


def _constant(workspace: Workspace, found: Found) -> list[str]:
    for f in declarations(workspace, found.symbol):
        text = workspace.text(f.file)
        return [render.code(f"let {text[f.start : text.find(';', f.end)]};")]
    return []


def _state(workspace: Workspace, found: Found) -> list[str]:
    for ref in project.state_refs(workspace.db, found.symbol.scope or None):
        decl = ref.parsed.decl
        if isinstance(decl, t.StateDecl) and decl.name.text == found.symbol.name:
            kind = _entity_of(workspace, decl.kind.text)
            return [render.code(ref.text[decl.start : decl.end]), decl.doc, *(_parts(kind) if kind else [])]
    return []


# --- helpers ----------------------------------------------------------------------------------------------------------


def _ticked(names: Iterable[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)


def _doc_of(workspace: Workspace, symbol: Symbol) -> str:
    """The documentation of the mesh that a symbol names."""
    for ref in project.mesh_refs(workspace.db):
        decl = ref.parsed.decl
        if isinstance(decl, t.MeshDecl) and decl.name.text == symbol.name:
            return decl.doc
    return ""


_PAGES: dict[str, Callable[[Workspace, Found], list[str]]] = {
    "entity": _entity,
    "variable": _variable,
    "attribute": _attribute,
    "operation": _operation,
    "param": _param,
    "enum": _enum,
    "enum value": _enum_value,
    "dataplane": _dataplane,
    "mesh": _mesh,
    "graph": _graph_file,
    "service": _service,
    "version": _version,
    "group": _group,
    "label": _label,
    "protocol": _protocol,
    "policy": _policy,
    "constant": _constant,
    "state": _state,
    "state kind": _entity,
    "condition": _condition,
    "key": _key,
}
