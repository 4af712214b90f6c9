"""Comments that suppress single findings, and must say why: `// m4: allow(redundant): kept for the audit until March`.

One stands at the end of a line that it is about, or on a line of its own above. A finding is on the lines of its place,
and on those with which the declaration around it begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from m4c.diagnostics.registry import RULES
from m4c.semantics.model import Place
from m4c.semantics.problems import Edit, Fix, Problem, nearest
from m4c.syntax.items import TOKEN

PLACEHOLDER = "…"
_HINT = re.compile(r"m4:\s*allow\b")
_ALLOW = re.compile(r"m4:\s*allow\b(.*)", re.S)
_WHOLE = re.compile(r"\s*\(\s*((?:[\w-]+(?:\s*,\s*[\w-]+)*)?)\s*,?\s*\)\s*(?::\s*(.*?))?\s*", re.S)
_CODE = re.compile(r"[\w-]+")
_SAYS = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Suppression:
    """One comment: the codes that it names, each with its place in the file, and why. `line`: the one that it is about;
    lines count from 0. `whole`: what goes if the comment goes. Without codes it is not written as it must be."""

    codes: tuple[tuple[str, int, int], ...]
    reason: str
    line: int
    start: int
    end: int
    whole: tuple[int, int]

    @property
    def reasoned(self) -> bool:
        return _SAYS.search(self.reason) is not None


def allows(text: str) -> tuple[Suppression, ...]:
    """The suppressions in a file's text."""
    return _allows(text) if _HINT.search(text) else ()


@lru_cache(maxsize=4096)
def _allows(text: str) -> tuple[Suppression, ...]:
    tokens = list(TOKEN.finditer(text))
    out = []
    for i, m in enumerate(tokens):
        if m.lastgroup != "comment" or m.group().startswith("///"):
            continue
        body = m.group()[2:].removesuffix("*/").strip() if m.group().startswith("/*") else m.group()[2:].strip()
        found = _ALLOW.match(body)
        if found is None:
            continue
        at = _subject(text, tokens, i)
        line, places = text.count("\n", 0, at), (m.start(), m.end(), _whole(text, m))
        whole = _WHOLE.fullmatch(found[1])
        if whole is None:
            out.append(Suppression((), "", line, *places))
            continue
        offset = m.start() + m.group().index("allow") + len("allow") + whole.start(1)
        codes = ((c.group(), offset + c.start(), offset + c.end()) for c in _CODE.finditer(whole[1]))
        out.append(Suppression(tuple(codes), whole[2] or "", line, *places))
    return tuple(out)


def _whole(text: str, comment: re.Match[str]) -> tuple[int, int]:
    """What goes with a comment: its line if nothing else is on it, else the white space in front."""
    start, end = comment.start(), comment.end()
    line = text.rfind("\n", 0, start) + 1
    after = text.find("\n", end)
    if not text[line:start].strip() and not text[end : after if after >= 0 else None].strip():
        return line, after + 1 if after >= 0 else len(text)
    while start > line and text[start - 1] in " \t":
        start -= 1
    return start, end


def _subject(text: str, tokens: list[re.Match[str]], i: int) -> int:
    """The offset of something on the line that the comment at `tokens[i]` is about."""
    start = tokens[i].start()
    line = text.rfind("\n", 0, start) + 1
    if any(t.start() >= line and t.lastgroup != "comment" for t in reversed(tokens[:i]) if t.end() > line):
        return start
    return next((t.start() for t in tokens[i + 1 :] if t.lastgroup != "comment"), start)


@dataclass(frozen=True, slots=True)
class Judged:
    """Problems with those set apart that a comment suppresses, each with its reason."""

    left: tuple[Problem, ...]
    suppressed: tuple[tuple[Problem, str], ...]


def judge(
    problems: Iterable[Problem],
    lines: Callable[[Problem], Iterable[tuple[str, int]]],
    of_file: Mapping[str, tuple[Suppression, ...]],
    complete: bool,
) -> Judged:
    """Applies the suppressions of some files, and reports those that are not as they must be.

    `lines`: where each problem is, as (file, line). `complete`: nothing keeps a finding from being made, so that what
    suppresses nothing is of no use.
    """
    by_line: dict[tuple[str, int], list[Suppression]] = {}
    codes: set[str] = set()
    for file, found in of_file.items():
        for each in found:
            if each.reasoned:
                by_line.setdefault((file, each.line), []).append(each)
                codes |= {code for code, _, _ in each.codes if _can(code)}
    left: list[Problem] = [] if codes else list(problems)
    suppressed: list[tuple[Problem, str]] = []
    used: set[tuple[str, int, str]] = set()
    for p in problems if codes else ():
        here = [
            (file, each)
            for file, line in (lines(p) if p.code in codes else ())
            for each in by_line.get((file, line), ())
            if any(code == p.code for code, _, _ in each.codes)
        ]
        used |= {(file, each.start, p.code) for file, each in here}
        if here:
            suppressed.append((p, here[0][1].reason))
        else:
            left.append(p)
    for file, found in of_file.items():
        for each in found:
            left += _about(file, each, {code for f, start, code in used if (f, start) == (file, each.start)}, complete)
    return Judged(tuple(left), tuple(suppressed))


def _can(code: str) -> bool:
    return code in RULES and RULES[code].suppressible


def _about(file: str, it: Suppression, used: set[str], complete: bool) -> Iterable[Problem]:
    """What is wrong with one suppression."""
    whole = Place(file, "", it.start, it.end)
    if not it.codes:
        message = "this suppresses nothing: it must be written as `// m4: allow(CODE): REASON`"
        yield Problem("unused-suppression", message, whole)
        return
    for code, start, end in it.codes:
        place = Place(file, "", start, end)
        if code not in RULES:
            near = nearest(code, RULES)
            hint = f"; did you mean `{near}`?" if near else ""
            fixes = (Fix(f"Change to `{near}`", (Edit(place, near),)),) if near else ()
            yield Problem("unused-suppression", f"no diagnostic has the code `{code}`{hint}", place, fixes=fixes)
        elif not _can(code):
            why = "it is an error of the language" if not RULES[code].configurable else "`m4.toml` may turn it off"
            message = f"`{code}` cannot be suppressed by a comment: {why}"
            yield Problem("unused-suppression", message, place, fixes=(_removal(it, file, code),))
        elif it.reasoned and complete and code not in used:
            message = f"there is no `{code}` here that this could suppress"
            yield Problem("unused-suppression", message, place, fixes=(_removal(it, file, code),))
    if not it.reasoned:
        codes = ", ".join(code for code, _, _ in it.codes)
        message = (
            f"a suppression needs a reason, and without one it suppresses nothing: say it behind the colon, as in "
            f"`// m4: allow({codes}): kept until the audit is over`"
        )
        yield Problem("suppression-without-reason", message, whole)


def _removal(it: Suppression, file: str, code: str) -> Fix:
    """The suppression without one of its codes; the whole of it, if it has no other."""
    codes = list(it.codes)
    i = [name for name, _, _ in codes].index(code)
    if len(codes) == 1:
        return Fix("Remove the suppression", (Edit(Place(file, "", *it.whole), ""),))
    start, end = (codes[i][1], codes[i + 1][1]) if i == 0 else (codes[i - 1][2], codes[i][2])
    return Fix(f"Suppress `{code}` no more", (Edit(Place(file, "", start, end), ""),))
