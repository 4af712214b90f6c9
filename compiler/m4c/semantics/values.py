"""Types and constants: nothing converts silently."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

from m4c.semantics.amend import TEXT_TYPES, WHOLE, Change, as_shares, as_type, percent, to_whole
from m4c.semantics.model import ABSENT, Absent, Enum, Place, Type, Value
from m4c.semantics.problems import Edit, Fix, Problem, unknown
from m4c.syntax import tree as t
from m4c.syntax import words

SCALARS = ("string", "istring", "int", "bool", "duration", "percent", "rate", "version", "service")
_UNITS = ((3600 * 10**9, "h"), (60 * 10**9, "m"), (10**9, "s"), (10**6, "ms"), (10**3, "us"), (1, "ns"))


Fault: TypeAlias = Callable[[str], tuple[str, str] | None]  # what is wrong with a regular expression: code and message


class Spanned(Protocol):
    """A node of a tree."""

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...


@dataclass(slots=True)
class Scope:
    """Where a declaration's checks report to: its file and key, the problems found so far, and what is worth saying
    though it is no problem for what it means. `fault`: who knows about regular expressions."""

    file: str
    decl: str
    problems: list[Problem] = field(default_factory=list)
    remarks: list[Problem] = field(default_factory=list)
    fault: Fault = lambda _: None

    def at(self, node: Spanned) -> Place:
        return Place(self.file, self.decl, node.start, node.end)

    def report(self, code: str, message: str, node: Spanned, changes: Iterable[Change] = (), about: str = "") -> None:
        fixes = tuple(map(self._fix, changes))
        self.problems.append(Problem(code, message, self.at(node), fixes=fixes, about=about))

    def _fix(self, change: Change) -> Fix:
        edits = (Edit(Place(self.file, self.decl, start, end), text) for start, end, text in change.edits)
        return Fix(change.title, tuple(edits), change.preferred, change.by_hand)

    def refuse(self, error: ConstantError, prefix: str = "") -> None:
        """Reports a constant that does not fit; `prefix` says what it is for."""
        if error.known is not None:
            written = words.quoted if isinstance(error.node, t.Lit) else words.service
            place = self.at(error.node)
            self.problems.append(unknown("service of the graph", error.name, error.known, place, written=written))
        else:
            self.report(error.code, f"{prefix}{error}", error.node, error.changes)


def resolve_type(node: t.TypeNode, enums: Mapping[str, Enum], scope: Scope) -> Type:
    """The type that a node names; an unknown one is reported and read as string."""
    name = node.name.text
    arity = {"map": 2, "set": 1}.get(name, 0)
    if name not in SCALARS and name not in ("map", "set") and name not in enums:
        scope.problems.append(unknown("type", name, [*SCALARS, "map", "set", *enums], scope.at(node.name)))
        name = "string"
    elif len(node.args) != arity:
        scope.report("type-mismatch", f"`{name}` takes {arity} type arguments, not {len(node.args)}", node)
        return Type("string")
    args = tuple(resolve_type(a, enums, scope) for a in node.args)
    plain = Type(name, args, node.optional, excluded=node.excluded)
    return plain if node.domain is None else _limited(plain, node.domain, node, enums, scope)


def _limited(plain: Type, domain: t.DomainNode, node: t.TypeNode, enums: Mapping[str, Enum], scope: Scope) -> Type:
    """A type with the limits that its text names; those that do not fit it are reported and left out."""
    if domain.regex is not None:
        wrong = scope.fault(domain.regex)
        if wrong is not None:
            scope.report(*wrong, node)
            return plain
        if plain.name in TEXT_TYPES:
            return replace(plain, domain=domain.regex, said=domain.text)
        scope.report("type-mismatch", f"a regular expression limits text, and `{plain.name}` is none", node)
        return plain
    try:
        if domain.among is not None:
            among = tuple(constant(item, replace(plain, optional=False), enums) for item in domain.among)
            return replace(plain, among=tuple(dict.fromkeys(among)), said=domain.text)
        low, high = (None if end is None else constant(end, plain, enums) for end in (domain.low, domain.high))
    except ConstantError as e:
        scope.report(e.code, str(e), e.node)
        return plain
    if not isinstance(low, int) or not isinstance(high, int | None) or (high is not None and low > high):
        scope.report("type-mismatch", f"`{domain.text}` holds no value", node)
        return plain
    return replace(plain, low=low, high=high, said=domain.text)


def fold(text: str) -> str:
    """ASCII lower case, for istring: other letters keep their case."""
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


class ConstantError(Exception):
    """A constant does not fit its type: the message for people, the node it is about, and what may have been meant.
    `known`: the graph has no service of that `name`, but these."""

    def __init__(
        self, message: str, node: t.Expr | t.Name, code: str = "type-mismatch", changes: tuple[Change, ...] = ()
    ) -> None:
        super().__init__(message)
        self.node = node
        self.code = code
        self.changes = changes
        self.name = ""
        self.known: frozenset[str] | None = None

    @classmethod
    def no_service(cls, name: str, node: t.Expr | t.Name, known: frozenset[str]) -> ConstantError:
        error = cls(f"no service of the graph is named `{name}`", node, "unknown-name")
        error.name, error.known = name, known
        return error


def describe(node: t.Expr | t.Name) -> str:
    """The kind of a written constant, for messages."""
    match node:
        case t.Lit(kind=kind):
            return {"int": "an int", "regex": "a regular expression"}.get(kind, f"a {kind}")
        case t.SetLit():
            return "a set"
        case t.MapLit():
            return "a map"
        case t.Name(text=text):
            return f"the name `{text}`"
        case t.Ref(root=root) if not node.accessors:
            return f"the name `{root.text}`"
        case _:
            return "an expression"


def constant(
    node: t.Expr | t.Name,
    type_: Type,
    enums: Mapping[str, Enum],
    lets: Mapping[str, t.Expr] | None = None,
    services: frozenset[str] | None = None,
) -> Value:
    """The value of a constant of a type, within its range or list; raises `ConstantError`. `services`: those of the
    graph, if it is known."""
    value = _constant(node, type_, enums, lets, services)
    if not type_.admits(value):
        raise ConstantError(f"{show(value, type_)} is not in {type_.said}", node)
    return value


def _constant(
    node: t.Expr | t.Name,
    type_: Type,
    enums: Mapping[str, Enum],
    lets: Mapping[str, t.Expr] | None,
    services: frozenset[str] | None,
) -> Value:
    if isinstance(node, t.Ref) and not node.accessors:
        if lets and node.root.text in lets:
            return constant(lets[node.root.text], type_, enums, None, services)
        node = node.root
    if type_.name == "service":
        return _service(node, services)
    if isinstance(node, t.Name):
        enum = enums.get(type_.name)
        if enum is not None and node.text in enum.values:
            return node.text
        if node.text == "absent" and type_.optional:
            return ABSENT
        message = f"expected {article(type_)}, found the name `{node.text}`"
        if enum is not None:
            message = f"`{enum.name}` has no value `{node.text}`, only {', '.join(enum.values)}"
        raise ConstantError(message, node, changes=as_type(node, type_, enums))
    match node:
        case t.Lit(kind="string", value=str(text)) if type_.name in TEXT_TYPES:
            if "\r" in text or "\n" in text or "\0" in text:
                raise ConstantError("a value on the wire can hold no line break and no NUL", node)
            return fold(text) if type_.name == "istring" else text
        case t.Lit(kind=kind, value=value) if kind == type_.name and kind != "string":
            if kind == "int" and isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise ConstantError("an int has 64 bits", node)
            if kind == "percent" and isinstance(value, int) and value > 100_00:
                raise ConstantError(f"a share is 100% at most, not {show(value, type_)}", node)
            return value
        case t.SetLit(items=items) if type_.name == "set":
            return tuple(sorted({constant(i, type_.args[0], enums, lets, services) for i in items}, key=repr))
        case t.MapLit(pairs=pairs) if type_.name == "map":
            return _map(node, pairs, type_, enums, lets, services)
    message = f"expected {article(type_)}, found {describe(node)}"
    raise ConstantError(message, node, changes=as_type(node, type_, enums))


def _map(
    node: t.MapLit,
    pairs: tuple[tuple[t.Name, t.Expr], ...],
    type_: Type,
    enums: Mapping[str, Enum],
    lets: Mapping[str, t.Expr] | None,
    services: frozenset[str] | None,
) -> Value:
    out: dict[str, Value] = {}
    for key, value in pairs:
        if key.text in out:
            raise ConstantError(f"`{key.text}` is given twice", key, "duplicate-name")
        if type_.args[0].name == "service":
            _service(key, services)
        try:
            out[key.text] = constant(value, type_.args[1], enums, lets, services)
        except ConstantError as e:
            if type_.args[1].name == "percent":
                e.changes = as_shares(pairs) or e.changes
            raise
    if type_.args[1].name == "percent":
        shares = {k: v for k, v in out.items() if isinstance(v, int)}
        total = sum(shares.values())
        if total != WHOLE:
            message = f"the shares sum to {percent(total)}, not 100%"
            raise ConstantError(message, node, "weights-sum", to_whole(pairs, shares))
    return tuple(sorted(out.items()))


def _service(node: t.Expr | t.Name, services: frozenset[str] | None) -> str:
    """A service's name, bare or in quotes, as in a path pattern."""
    match node:
        case t.Name(text=text):
            pass
        case t.Lit(kind="string", value=str(text)):
            pass
        case _:
            raise ConstantError(f"expected a service of the graph, found {describe(node)}", node)
    if services is not None and text not in services:
        raise ConstantError.no_service(text, node, services)
    return text


def article(type_: Type) -> str:
    """`an int`: what kind of value a type wants, without its limits."""
    return f"{'an' if type_.name[0] in 'aeio' else 'a'} {Type(type_.name, type_.args, type_.optional)}"


def show(value: Value, type_: Type) -> str:
    """A constant as M4 writes it; `constant` reads it back."""
    match type_.name, value:
        case _, Absent():
            return "absent"
        case (("string" | "istring" | "version" | "service"), str(text)):
            escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
            return f'"{escaped}"'
        case "duration", int(ns):
            unit, name = next((u, n) for u, n in _UNITS if ns % u == 0 and (ns or u == 10**9))
            return f"{ns // unit}{name}"
        case "percent", int(h):
            return percent(h)
        case "rate", (int(count), int(per)):
            return f"{count}/{next(n for u, n in _UNITS if u == per)}"
        case "bool", _:
            return "true" if value else "false"
        case "set", tuple(items):
            return f"[{', '.join(show(i, type_.args[0]) for i in items)}]"
        case "map", tuple(pairs):
            shown = (f"{words.service(str(p[0]))}: {show(p[1], type_.args[1])}" for p in pairs if isinstance(p, tuple))
            return f"{{ {', '.join(shown)} }}"
        case _:
            return str(value)


ConstantReader = Callable[[t.Expr, Type], Value]
