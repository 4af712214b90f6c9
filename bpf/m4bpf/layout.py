"""Policies as the bytes that the kernel's program walks over: ``struct m4_set`` of ``m4_rules.h``.

A condition becomes a graph of questions, each with what follows either answer, so that no more is asked than the answer
needs. Trees are

    true, false     {"not": tree}     {"all": [tree, …]}     {"any": [tree, …]}
    {"tag": [tag, …]}                 the request carries one of these tags
    {"answered": number}              what a state answered
    {"part": "method" | "target" | "url_path" | "header", "key", "op", "value"}

with the comparisons ``==``, ``in``, ``starts_with``, ``ends_with``, ``contains`` and ``exists``.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from m4bpf._errors import KernelError
from m4bpf.hops import Hop, Part, Policies, Source, read_policies

# The limits of m4_types.h and m4_rules.h.
_OPS, _WORDS, _CHAINS = 8192, 16384, 64
RULES = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """What is not the same for all programs: the longest text, the parts of a request, operations in a row, headers
    whose names have the same length, whether it can search in a text, and keep a state for each value of something."""

    literal: int
    parts: int
    steps: int
    chain: int
    search: bool
    each: bool


FULL = Limits(literal=1024, parts=64, steps=_OPS, chain=64, search=True, each=True)
SMALL = Limits(
    literal=32, parts=16, steps=32, chain=4, search=False, each=False
)  # where the verifier walks through every loop
_INSTEAD = "; install clang, with which there is more room"

_END, _GO, _EQUALS, _STARTS_WITH, _ENDS_WITH, _CONTAINS, _EXISTS, _BELOW, _ANSWERED, _EFFECT, _RETAG = range(1, 12)
_COMPARISONS = {"==": _EQUALS, "starts_with": _STARTS_WITH, "ends_with": _ENDS_WITH, "contains": _CONTAINS}
_NAMED = {"method": 0, "target": 1, "url_path": 2}
_OP = struct.Struct("=BBHHHII")  # kind, subject, size, yes, no, at, value
_NAME = struct.Struct("=HHI")  # size, next, at
_KEEP = 1 << 32  # the tag stays as it is
_END_OP = (_END, 0, 0, 0, 0, 0, 0)

Op = tuple[int, int, int, int, int, int, int]


class _Layout:
    """A set that grows. What follows an operation is always laid out before it."""

    def __init__(self, callees: int, limits: Limits) -> None:
        self.limits = limits
        self.longest = [1] * max(callees, 1)  # walks, from each operation on
        if callees >= _OPS:
            raise KernelError(f"a service has {_OPS - 1} callees at most, not {callees}")
        self.ops: list[Op] = [_END_OP] * max(callees, 1)
        self.words: list[int] = []
        self.fields: list[str] = []
        self._placed: dict[Op, int] = {}
        self._literals: dict[tuple[int, ...], int] = {}

    def op(self, kind: int, yes: int, no: int, *, subject: int = 0, size: int = 0, at: int = 0, value: int = 0) -> int:
        """The number of an operation; equal ones are one."""
        op = (kind, subject, size, yes, no, at, value)
        if op not in self._placed:
            if len(self.ops) >= _OPS - 1:
                raise KernelError(f"the policies of one service need more than {_OPS - 1} steps in the kernel")
            self._placed[op] = len(self.ops)
            self.ops.append(op)
            self.longest.append(1 if kind == _END else 1 + max(self.longest[yes], self.longest[no]))
        return self._placed[op]

    def numbers(self, words: tuple[int, ...]) -> int:
        """Where these words are."""
        if words not in self._literals:
            at = len(self.words) + len(self.words) % 2
            if at + len(words) > _WORDS:
                raise KernelError(f"the texts and numbers of one service's policies need more than {8 * _WORDS} bytes")
            self.words += [0] * (at - len(self.words)) + list(words)
            self._literals[words] = at
        return self._literals[words]

    def literal(self, text: bytes, *, fold: bool = False) -> int:
        """Where this text is. *fold*: ASCII case does not matter, and the text is in lower case."""
        if len(text) > self.limits.literal:
            instead = _INSTEAD if self.limits is SMALL else ""
            raise KernelError(f"the kernel compares with at most {self.limits.literal} bytes, not {len(text)}{instead}")
        words: list[int] = []
        for begin in range(0, len(text), 8):
            part = text[begin : begin + 8]
            mask = bytes(0x20 if fold and 0x61 <= byte <= 0x7A else 0 for byte in part)
            words += [int.from_bytes(part, "little"), int.from_bytes(mask, "little")]
        return self.numbers(tuple(words))

    def part(self, attribute: str, key: str | None) -> int:
        """The number of a part of the request."""
        if attribute in _NAMED:
            return _NAMED[attribute]
        if attribute != "header" or key is None:
            raise KernelError(f"the kernel does not read {attribute}")
        if key not in self.fields:
            if len(self.fields) == self.limits.parts - len(_NAMED):
                instead = _INSTEAD if self.limits is SMALL else ""
                raise KernelError(f"the policies of one service look at more than {len(self.fields)} headers{instead}")
            self.fields.append(key)
        return len(_NAMED) + self.fields.index(key)

    def tree(self, when: Any, yes: int, no: int) -> int:
        """Where a condition begins that goes on with *yes* or *no*."""
        if isinstance(when, bool):
            return yes if when else no
        if "not" in when:
            return self.tree(when["not"], no, yes)
        if "all" in when:
            for part in reversed(when["all"]):
                yes = self.tree(part, yes, no)
            return yes
        if "any" in when:
            for part in reversed(when["any"]):
                no = self.tree(part, yes, no)
            return no
        if "tag" in when:
            return self.by_tag({int(tag): yes for tag in when["tag"]}, no)
        if "answered" in when:
            return self.op(_ANSWERED, yes, no, value=int(when["answered"]))
        return self.comparison(when, yes, no)

    def comparison(self, when: Mapping[str, Any], yes: int, no: int) -> int:
        subject, op, value = self.part(when["part"], when["key"]), when["op"], when["value"]
        if op == "exists":
            return self.op(_EXISTS, yes, no, subject=subject)
        if op == "contains" and not self.limits.search:
            raise KernelError("a program that bcc compiled cannot search in texts (`contains`)" + _INSTEAD)
        kind = _COMPARISONS.get("==" if op == "in" else op)
        if kind is None:
            raise KernelError(f"the kernel has no comparison {op}")
        for one in reversed(value if op == "in" else [value]):
            text = one.encode()
            no = self.op(kind, yes, no, subject=subject, size=len(text), at=self.literal(text))
        return no

    def by_tag(self, goes_on: Mapping[int, int], otherwise: int) -> int:
        """Where a search begins that goes on by the tag that the request carries."""
        begins = {0: otherwise}
        for tag in sorted(goes_on):
            begins[tag] = goes_on[tag]
            if tag + 1 not in goes_on and tag + 1 < _KEEP:
                begins[tag + 1] = otherwise
        stretches: list[tuple[int, int]] = []
        for tag in sorted(begins):
            if not stretches or stretches[-1][1] != begins[tag]:
                stretches.append((tag, begins[tag]))
        return self._search(stretches)

    def _search(self, stretches: list[tuple[int, int]]) -> int:
        if len(stretches) == 1:
            return stretches[0][1]
        middle = len(stretches) // 2
        below, above = self._search(stretches[:middle]), self._search(stretches[middle:])
        return self.op(_BELOW, below, above, value=stretches[middle][0])

    def hop(self, hop: Hop, number_of: Callable[[tuple[str, str]], int]) -> int:
        """Where a hop's rules begin: they come in their order, then the tag."""
        begin = end = self.op(_END, 0, 0)
        for case in reversed([hop.tags] if isinstance(hop.tags, Mapping) else hop.tags or []):
            begin = self.tree(case.get("when", True), self.update(case, end), begin)
        for rule in reversed(hop.rules):
            at = self.numbers(tuple(map(self.value, rule.values))) if rule.values else 0
            done = self.op(_EFFECT, begin, begin, subject=rule.effect, at=at, value=number_of(rule.counted))
            begin = self.tree(rule.when, done, begin)
        return begin

    def value(self, value: int | Part) -> int:
        """A number that an operation is performed with."""
        if isinstance(value, int):
            return value
        if not self.limits.each:
            raise KernelError(
                "a program that bcc compiled keeps no state for each value of something (`per`)" + _INSTEAD
            )
        return self.part(value.attribute, value.key)

    def update(self, tags: Mapping[str, Any], end: int) -> int:
        """Where it begins that the tag becomes what these say."""
        other = tags["otherwise"]
        to = {int(tag): int(entry["to"]) for entry in tags["map"] for tag in entry["from"]}
        begin = end if other is None else self.retag(int(other), end)
        return self.by_tag({tag: self.retag(value, end) for tag, value in to.items()}, begin)

    def retag(self, tag: int, then: int) -> int:
        return self.op(_RETAG, then, then, at=self.numbers((tag,)))

    def names(self) -> tuple[bytes, bytes]:
        """The chains of names."""
        first, following = [0] * _CHAINS, [(0, 0, 0)] * self.limits.parts
        for number, name in enumerate(self.fields, len(_NAMED)):
            text = name.lower().encode()
            chain = len(text) % _CHAINS
            following[number] = (len(text), first[chain], self.literal(text, fold=True))
            first[chain] = number
        lengths = Counter(len(name.encode()) % _CHAINS for name in self.fields)
        if max(lengths.values(), default=0) > self.limits.chain:
            raise KernelError(f"more than {self.limits.chain} headers have names of the same length" + _INSTEAD)
        return struct.pack(f"={_CHAINS}H", *first), b"".join(_NAME.pack(*one) for one in following)


def lay_out(policies: Policies, number_of: Callable[[tuple[str, str]], int], limits: Limits = FULL) -> bytes:
    """The set of these policies. *number_of* numbers what refusals are counted by. Raises :class:`KernelError` if they
    need more room than there is, or something that the kernel does not have."""
    layout = _Layout(policies.callees, limits)
    try:
        for hop in policies.hops:
            begin = layout.hop(hop, number_of)
            layout.ops[hop.index] = (_GO, 0, 0, begin, begin, 0, 0)
            if layout.longest[begin] >= limits.steps:
                longest = layout.longest[begin]
                raise KernelError(
                    f"the policies of {hop.site} take up to {longest} steps of {limits.steps - 1}{_INSTEAD}"
                )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise KernelError("the policies cannot be read", f"{type(error).__name__}: {error}") from error
    first, names = layout.names()
    made = bytearray(len(first) + len(names) + 8 * _WORDS + _OP.size * _OPS)
    made[: len(first)] = first
    made[len(first) : len(first) + len(names)] = names
    words = len(first) + len(names)
    made[words : words + 8 * len(layout.words)] = struct.pack(f"={len(layout.words)}Q", *layout.words)
    ops = words + 8 * _WORDS
    made[ops : ops + _OP.size * len(layout.ops)] = b"".join(_OP.pack(*op) for op in layout.ops)
    return bytes(made)


def check(hops: Source, limits: Limits = FULL) -> None:
    """Whether the kernel has room for these policies, and can decide them; raises :class:`KernelError` if not."""
    numbers: dict[tuple[str, str], int] = {}
    lay_out(read_policies(hops), lambda counted: numbers.setdefault(counted, len(numbers)), limits)
    if len(numbers) > RULES:
        raise KernelError(f"one service has {RULES} rules at most in the kernel, not {len(numbers)}")
