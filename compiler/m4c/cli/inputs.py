"""What `m4 trace` is about: a call path, and what is on it, from the words of the command line.

Names are looked up, and values are checked, as those of a `test` are.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from m4c.cli.errors import UsageError
from m4c.paths.callpath import CallPath
from m4c.predicates import RegexError, TooComplex, regex_matches
from m4c.semantics.effects import answers, carriers
from m4c.semantics.model import ABSENT, AttrKey, Entity, Program, Value
from m4c.semantics.problems import nearest
from m4c.semantics.tests import Subject
from m4c.semantics.values import ConstantError, Scope, constant
from m4c.syntax import tree as t
from m4c.syntax.parser import parse_item
from m4c.testing import arriving

OUTSIDE = "outside"
_SETTING = re.compile(
    r"""\s*(?P<name>[^\s.\[=]+)\s*(?:\.\s*(?P<member>[^\s.\[=]+)\s*)?
        (?:\[\s*(?:"(?P<quoted>[^"]*)"|(?P<key>[^\]"]*?))\s*\]\s*)?=(?P<value>.*)""",
    re.X | re.S,
)


@dataclass(frozen=True, slots=True)
class Inputs:
    """One request (or connection, or whatever the entity is) on one call path."""

    entity: str
    path: CallPath
    values: dict[AttrKey, Value]
    states: dict[tuple[str, str], bool]  # what states answer, by state and condition; the others: yes


def read_inputs(program: Program, args: argparse.Namespace) -> Inputs:
    """What the options of `m4 trace` say; a usage error says what is wrong with them."""
    entity = _entity(program, args.entity)
    path = call_path(program, args.call_path, entity)
    reader = _Reader(program, entity)
    for option, name, given, plain in (
        ("--method", "method", args.method, "GET"),
        ("--target", "target", args.target, "/"),
    ):
        if given is not None or name in entity.attributes:
            value = plain if given is None else given
            reader.set(option, f"{name}={value}", typed=value)
    for text in args.header:
        name, eq, value = text.partition("=")
        if not eq or '"' in name:
            raise UsageError(f"--header takes NAME=VALUE, not `{text}`")
        reader.set("--header", f'header["{name.strip()}"]={value}', typed=text)
    for text in args.set:
        reader.set("--set", text)
    for text in args.answer:
        reader.set("--answer", text, reader.answering())
    for text in args.state:
        reader.answer(text)
    return Inputs(entity.name, path, arriving(program, entity.name, reader.values), reader.states)


def _entity(program: Program, name: str | None) -> Entity:
    """The entity of that name; without one what a request is, if policies are about that or what goes with it, else
    what the first policy is about."""
    known = {e.name: e for e in program.entities.values() if not e.state}
    if name is None:
        used = list(dict.fromkeys(p.entity for p in program.policies))
        for e in known.values():
            related = {e.name, *(o.name for o in (*carriers(known, e.name), *answers(known, e.name)))}
            if e.request_line and (not used or related & set(used)):
                return e
        for each in used or known:
            return known[each]
        raise UsageError("the specs of the mesh declare no entity")
    if name not in known:
        raise UsageError(f"no entity is named `{name}`{_near(name, known) or f'; there is {_listed(known)}'}")
    asked = list(dict.fromkeys(known[name].views.values()))
    if asked:
        raise UsageError(f"a {name} only comes back for a {asked[0]}: trace that, with --answer for what is in it")
    return known[name]


def call_path(program: Program, text: str, entity: Entity) -> CallPath:
    """The call path that `A,B:v2,D` names; `outside` may come first. Checked against the graph.

    A connection goes from any service to one that it calls.
    """
    steps = [s.strip() for s in text.replace("->", ",").split(",") if s.strip()]
    outside = bool(steps) and steps[0] == OUTSIDE
    steps = steps[1:] if outside else steps
    if not steps:
        raise UsageError("a call path names at least one service, as in --path A,B,D")
    services, versions = [], []
    for step in steps:
        name, colon, version = step.partition(":")
        service = program.graph.services.get(name)
        if service is None:
            raise UsageError(f"the graph has no service `{name}`{_near(name, program.graph.services)}")
        if colon and version not in service.versions:
            raise UsageError(f"`{name}` has no version `{version}`; it has {_listed(service.versions) or 'none'}")
        services.append(name)
        versions.append(version or (service.versions[0] if service.versions else None))
    calls = {(c.caller, c.callee) for c in program.graph.calls}
    for u, v in pairwise(services):
        if (u, v) not in calls:
            there = sorted(callee for caller, callee in calls if caller == u)
            raise UsageError(f"the graph has no call from `{u}` to `{v}`; `{u}` calls {_listed(there) or 'nobody'}")
    first = program.graph.services[services[0]]
    if outside and not first.entry:
        raise UsageError(f"`{first.name}` is no entry: nothing from outside reaches it directly")
    if entity.connection and len(services) > 1:
        return CallPath(outside, tuple(services), tuple(versions))
    if not outside and (not first.origin or (len(services) == 1 and first.entry)):
        if not first.entry:
            raise UsageError(f"`{first.name}` never starts a request by itself (`origin: false`)")
        outside = True
    if not outside and len(services) == 1:
        raise UsageError("a path of one service has no hop, unless it is an entry")
    return CallPath(outside, tuple(services), tuple(versions))


class _Reader:
    """Reads settings of one entity, and of what goes with it."""

    def __init__(self, program: Program, entity: Entity) -> None:
        self.program = program
        self.scope = Scope("", "")
        states = {s.name: s for s in program.states}
        services = frozenset(program.graph.services)
        self.subject = Subject(entity, program.entities, program.enums, states, self.scope, services)
        self.values: dict[AttrKey, Value] = {}
        self.states: dict[tuple[str, str], bool] = {}

    def answering(self) -> str:
        """The entity that --answer is about."""
        name = self.subject.entity.name
        found = [e.name for e in answers(self.program.entities, name)]
        if len(found) != 1:
            choices = " or ".join(f"--set {e}.ATTRIBUTE=VALUE" for e in found)
            raise UsageError(f"several come back for a {name}; say {choices}" if found else f"nothing answers a {name}")
        return found[0]

    def set(self, option: str, text: str, owner: str | None = None, typed: str | None = None) -> None:
        """One attribute of the entity, or of `owner`. Text under a key that is given again is joined by `,`.

        `typed`: what stands behind the option, where that is short for `text`.
        """
        node, value = _setting(option, text, owner)
        given_as = f"{option} {text if typed is None else typed}"
        if self.subject.asked(node):
            raise UsageError(f"{given_as}: `{node.name.text}` is a state; say --state {text.strip()}")
        found = self.subject.settable(node)
        if found is None:
            raise UsageError(f"{given_as}: {self.scope.problems[-1].message}")
        attr, attribute = found
        type_ = attribute.type
        # Text needs no quotes here.
        written = (
            t.Lit("string", value, 0, 0)
            if type_.name in ("string", "istring", "version", "service")
            else _value(value.strip())
        )
        try:
            given = (
                constant(written, type_, self.program.enums, None, self.subject.services)
                if written is not None
                else None
            )
        except ConstantError as e:
            raise UsageError(f"{given_as}: {e}") from None
        if given is None:
            raise UsageError(f"{given_as}: `{value}` is not a value of {type_}")
        try:
            inside = type_.domain is None or regex_matches(type_.domain, str(given))
        except (RegexError, TooComplex):
            inside = True  # said at the attribute
        if not inside:
            raise UsageError(f"{given_as}: {attr} is {type_}, and `{given}` does not match")
        again = attr in self.values and attr.key is not None and isinstance(given, str)
        self.values[attr] = f"{self.values[attr]},{given}" if again else given
        if given is ABSENT:
            del self.values[attr]

    def answer(self, text: str) -> None:
        """What a state answers."""
        node, value = _setting("--state", text)
        kind = self.subject.kind(node.name.text)
        if not self.subject.asked(node) or node.member is None or node.key is not None:
            known = [f"{s}.{c}" for s in self.subject.states for c in _conditions(self.subject.kind(s))]
            name = text.partition("=")[0].strip()
            if kind is None:
                hint = _near(name, known) or (f"; there is {_listed(known)}" if known else "; the mesh asks none")
            else:
                hint = f"; it has {_listed(_conditions(kind)) or 'none'}"
            who = f"`{node.name.text}` has no condition like this" if kind is not None else "no state is named so"
            raise UsageError(f"--state {text}: {who}{hint}")
        if value.strip() not in ("true", "false"):
            raise UsageError(f"--state takes STATE.CONDITION=true or =false, not `{text}`")
        self.states[node.name.text, node.member.text] = value.strip() == "true"


def _conditions(kind: Entity | None) -> Iterator[str]:
    yield from kind.conditions if kind is not None else ()


def _setting(option: str, text: str, owner: str | None = None) -> tuple[t.Setting, str]:
    """The parts of `ATTRIBUTE=V`, `ATTRIBUTE[KEY]=V` and `OWNER.ATTRIBUTE=V`, as a test has them, and the value."""
    m = _SETTING.fullmatch(text)
    if m is None or (owner is not None and m["member"] is not None):
        what = "STATE.CONDITION=VALUE" if option == "--state" else "ATTRIBUTE=VALUE or ATTRIBUTE[KEY]=VALUE"
        raise UsageError(f"{option} takes {what}, not `{text}`")
    name, member = (m["name"], m["member"]) if owner is None else (owner, m["name"])
    key = m["key"] if m["quoted"] is None else m["quoted"]
    node = t.Setting(
        t.Name(name, 0, 0),
        t.Name(member, 0, 0) if member is not None else None,
        t.Str(key, 0, 0) if key is not None else None,
        t.Lit("string", m["value"], 0, 0),
        0,
        0,
    )
    return node, m["value"]


def _value(text: str) -> t.Expr | t.Name | None:
    """A constant as M4 writes it; None if the text is no constant."""
    item = parse_item(f'test "" {{ request _ on _ with _ = {text}; }}')
    match item.decl:
        case t.TestDecl(statements=(t.TestRequest(settings=(t.Setting(value=value),)),)) if not item.problems:
            return value
    return None


def _near(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return f"; did you mean `{near}`?" if near else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)
