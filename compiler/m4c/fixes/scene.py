"""What a fix is made from: the problem, the declarations around it, and the program that it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from m4c import project
from m4c.analysis.conflicts import conflicts
from m4c.analysis.effects import Effects
from m4c.analysis.run import about
from m4c.analysis.shadowing import shadowed
from m4c.db import Database, query
from m4c.fixes.surgery import Source, listed
from m4c.project import DeclRef
from m4c.semantics.model import Place, Policy, Program
from m4c.semantics.problems import Edit, Problem
from m4c.syntax import tree as t

LEFT_OUT = ("bad-regex", "too-complex", "override-cycle")

Beside = Callable[[str], tuple[str, ...]]


@dataclass(frozen=True)
class Scene:
    """One problem, and answers about what surrounds it. `beside`: the names of the files in a folder."""

    db: Database
    problem: Problem
    beside: Beside

    # --- text ---

    def ref(self, place: Place) -> DeclRef | None:
        """The declaration that a place is in."""
        return next((r for r in project.decls(self.db, place.file) if r.key == place.decl), None)

    @cached_property
    def source(self) -> Source | None:
        """The declaration that the problem is in."""
        ref = self.ref(self.problem.place)
        return Source(ref) if ref is not None else None

    @property
    def decl(self) -> t.Decl | None:
        return self.source.ref.parsed.decl if self.source is not None else None

    @cached_property
    def mesh(self) -> str | None:
        decl = self.decl
        if isinstance(decl, t.MeshDecl):
            return decl.name.text
        return project.mesh_of_file(self.db, self.problem.place.file)[0]

    @property
    def declared(self) -> Mapping[str, tuple[Source, t.PolicyDecl]]:
        """The declarations of the mesh's policies, by name."""
        return declared(self.db, self.mesh)

    def removed(self, name: str) -> tuple[Edit, ...]:
        """Takes a policy out: its declaration, and its name where others order themselves by it.

        What it overrides or is after stands in its place there, so that the order of the others stays.
        """
        source, decl = self.declared[name]
        edits = [self._whole(source)]
        for other in followers(self.db, self.mesh).get(name, ()):
            where, theirs = self.declared[other]
            for clause in ("overrides", "after"):
                names = listed(theirs, clause)
                for at in names:
                    if at.text == name and other != name:
                        known = {n.text for n in names} | {other}
                        inherited = dict.fromkeys(n.text for n in listed(decl, clause))
                        edits += where.replace_listed(at, [n for n in inherited if n not in known])
        return tuple(edits)

    def _whole(self, source: Source) -> Edit:
        """The removal of a declaration with its line break, and with one of the blank lines around it."""
        text = str(self.db.input_or("text", source.ref.file, default=None) or "")
        base = project.offsets(self.db, source.ref.file)[source.ref.key]
        start, end = base, base + len(source.text)
        line = text.rfind("\n", 0, start) + 1
        after = text.find("\n", end)
        if not text[line:start].strip() and not text[end : after if after >= 0 else None].strip():
            end = after + 1 if after >= 0 else len(text)
            above = text[text.rfind("\n", 0, max(line - 1, 0)) + 1 : line]
            below = text.find("\n", end)
            if not above.strip() and below >= 0 and not text[end:below].strip():
                end = below + 1
        return source.edit(start - base, end - base, "")

    # --- meaning ---

    @cached_property
    def effects(self) -> Effects | None:
        """The analysis of what the mesh says about the entity of the problem's policies."""
        named = project.entities(self.db, self.mesh) if self.mesh is not None else {}
        entities = [named[n] for n in self.problem.policies if n in named]
        effects = effects_of(self.db, self.mesh, entities[0]) if self.mesh is not None and entities else None
        known = effects is not None and all(n in effects.policies for n in self.problem.policies)
        return effects if known else None

    @property
    def program(self) -> Program | None:
        """The part of the mesh's program about that entity."""
        return self.effects.program if self.effects is not None else None

    def meets(self, *names: str) -> frozenset[str]:
        """What a change of policies touches: the services that their hops end at, all of them if a mark may go on."""
        if self.effects is None or self.program is None:
            return frozenset()
        out: set[str] = set()
        for name in names:
            policy = self.effects.policies[name]
            travels = any(self.program.attribute(w.attr).travels for c in policy.calls for w in c.writes)
            ends = self.effects.ends(policy.pattern)
            services = self.program.graph.services if travels else self.effects.ground.letters.names(ends)
            out |= {f"{self.mesh}/{policy.entity}/{service}" for service in services}
        return frozenset(out)


@query
def declared(db: Database, mesh: str | None) -> dict[str, tuple[Source, t.PolicyDecl]]:
    """The declarations of a mesh's policies, by name."""
    found: dict[str, tuple[Source, t.PolicyDecl]] = {}
    for ref in project.policy_refs(db, mesh):
        decl = ref.parsed.decl
        if isinstance(decl, t.PolicyDecl):
            found.setdefault(decl.name.text, (Source(ref), decl))
    return found


@query
def followers(db: Database, mesh: str | None) -> dict[str, tuple[str, ...]]:
    """For each policy those that name it in `overrides` or `after`, in the order of the text."""
    found: dict[str, dict[str, None]] = {}
    for name, (_, decl) in declared(db, mesh).items():
        for clause in ("overrides", "after"):
            for at in listed(decl, clause):
                found.setdefault(at.text, {})[name] = None
    return {name: tuple(names) for name, names in found.items()}


@query
def effects_of(db: Database, mesh: str, entity: str) -> Effects | None:
    """The analysis of a mesh's program about one entity, kept for all fixes that are asked for; without the policies
    that the analyses leave out themselves."""
    program = project.program(db, mesh)
    if program is None:
        return None
    bad = {name for p in project.findings(db, mesh) if p.code in LEFT_OUT for name in p.policies}
    return Effects(about(replace(program, policies=tuple(p for p in program.policies if p.name not in bad)), entity))


def without_name(policy: Policy, clause: str, name: str) -> Policy:
    names = tuple(n for n in getattr(policy, clause) if n != name)
    return replace(policy, overrides=names) if clause == "overrides" else replace(policy, after=names)


def with_name(policy: Policy, clause: str, name: str) -> Policy:
    names = (*getattr(policy, clause), name)
    return replace(policy, overrides=names) if clause == "overrides" else replace(policy, after=names)


def changed(effects: Effects, changes: Iterable[Policy], *names: str) -> Effects:
    """The analysis of some policies, and of those on which it depends what they do, with some of them changed."""
    new = {p.name: p for p in changes}
    named = {*names, *new}
    kept = named.union(*(effects.orders.over[n] for n in named))
    kept |= effects.relevant(kept)

    def among(policy: Policy) -> Policy:
        over, after = (tuple(n for n in some if n in kept) for some in (policy.overrides, policy.after))
        return replace(policy, overrides=over, after=after)

    some = (among(new.get(p.name, p)) for p in effects.in_order(kept))
    return Effects(replace(effects.program, policies=tuple(some)), ground=effects.ground)


def never_effective(effects: Effects, changes: Iterable[Policy], name: str) -> bool:
    """Whether others would override everything that a policy requests, if some were changed."""
    after = changed(effects, changes, name)
    return shadowed(after, after.policies[name]) is not None


def contradicts(effects: Effects, changes: Iterable[Policy], name: str) -> bool:
    """Whether a policy would contradict another one, if some were changed."""
    policy = effects.policies[name]
    ends, written = effects.ends(policy.pattern), {w.attr for c in policy.calls for w in c.writes}
    near = (
        p.name
        for p in effects.program.policies
        if any(w.attr in written for c in p.calls for w in c.writes) and effects.ends(p.pattern) & ends
    )
    found = conflicts(changed(effects, changes, *near))
    return any(p.code == "contradiction" and name in p.policies for p in found)
