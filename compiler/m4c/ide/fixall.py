"""Makes all fixes that can be made unasked: for `m4 check --fix`, and for an editor on one file.

A fix is made if the problem leaves no choice (`problems.chosen`). They are made in rounds, each against what the one
before came to: errors before warnings, what the text says before what the program means. While there are errors, the
program means nothing for certain, so what the analyses warn of waits. Within a round no two fixes touch the same text,
or the meaning of the same hops. If a round brings about other problems, it is taken back and made in parts; what does
so by itself is left to its author.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from m4c.diagnostics.aggregate import grouped
from m4c.diagnostics.registry import Severity
from m4c.fixes.scene import LEFT_OUT
from m4c.ide.edits import TextEdit, apply_edits, text_edits
from m4c.semantics.problems import Problem, chosen
from m4c.workspace import Workspace

ROUNDS = 100  # at most
MANY = 100  # pairs of policies that hang together, from which on it takes their authors to say who wins

Identity: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """A fix that was made: of which problem, and where that was then (lines from 0)."""

    code: str
    title: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What all fixes come to: the workspace afterwards, which shares nothing with the one before.

    `finished`: no further fix could be made; if not, there were too many, and asking again goes on. `waiting`: fixes
    that wait until there are no errors.
    """

    workspace: Workspace
    made: tuple[Made, ...]
    finished: bool
    waiting: int = 0

    def texts(self, before: Workspace) -> dict[str, str]:
        """The files that are otherwise now, with their texts."""
        texts = {file: self.workspace.text(file) for file in sorted(self.workspace.opened)}
        return {file: text for file, text in texts.items() if text != before.text(file)}


@dataclass(frozen=True, slots=True)
class _Step:
    problem: Problem
    title: str
    edits: tuple[TextEdit, ...]
    meets: frozenset[str]


def fix_all(workspace: Workspace, may_change: Callable[[str], bool], codes: Collection[str] | None = None) -> Outcome:
    """Makes the fixes that only change files that may be changed; with `codes`, only those of such problems."""
    now = workspace.fork()
    made: list[Made] = []
    left: dict[Identity, int] = {}  # problems whose fixes bring about others, as long as no more fixes were made
    for _ in range(ROUNDS):
        problems = now.problems()
        unsound = any(now.severity(p) == Severity.ERROR for p in problems)
        asked = [p for p in _few(problems) if (codes is None or p.code in codes) and _identity(p) not in left]
        steps = _round(now, may_change, [p for p in asked if not (unsound and _waits(now, p))])
        if not steps and any(number < len(made) for number in left.values()):
            left = {p: number for p, number in left.items() if number == len(made)}
            continue
        if not steps:
            waiting = [p for p in asked if unsound and _waits(now, p) and chosen(now.fixes(p))]
            return Outcome(now, tuple(made), True, len(waiting))
        following = _after(now, steps)
        while _worse(now, following, steps[0].problem):
            if len(steps) == 1:
                left[_identity(steps[0].problem)] = len(made)
                steps, following = [], now
                break
            steps = steps[: len(steps) // 2]  # the others' turn comes in the next round
            following = _after(now, steps)
        made += (_made(now, step) for step in steps)
        now = following
    return Outcome(now, tuple(made), False)


def _few(problems: list[Problem]) -> Iterator[Problem]:
    """The problems without those of which so many hang together that no order of fixes could be told from another."""
    for found in grouped(problems):
        if isinstance(found, Problem):
            yield found
        elif len(found.pairs) <= MANY:
            yield from found.pairs


def _made(workspace: Workspace, step: _Step) -> Made:
    span = workspace.span(step.problem.place)
    return Made(step.problem.code, step.title, span.file, span.start_line)


def _identity(p: Problem) -> Identity:
    """What tells a problem from others, whatever happens to the text around it."""
    return p.code, p.place.file, p.place.decl, p.policies, p.about


def _level(workspace: Workspace, p: Problem) -> tuple[int, bool]:
    """Errors come first; of equally bad problems, those that keep others from being seen."""
    return int(workspace.severity(p)), bool(p.policies) and p.code not in LEFT_OUT


def _waits(workspace: Workspace, p: Problem) -> bool:
    """Whether a problem is there only as far as the program can be told at all."""
    severity, analysed = _level(workspace, p)
    return analysed and severity > Severity.ERROR


def _round(workspace: Workspace, may_change: Callable[[str], bool], problems: list[Problem]) -> list[_Step]:
    """The fixes of the worst problems that have some, as far as they do not meet one another."""
    for level in sorted({_level(workspace, p) for p in problems}):
        taken: list[_Step] = []
        meets: set[str] = set()
        for step in _steps(workspace, (p for p in problems if _level(workspace, p) == level)):
            if not all(may_change(e.span.file) for e in step.edits) or meets & step.meets:
                continue
            if not any(_overlap(a, b) for other in taken for a in other.edits for b in step.edits):
                taken.append(step)
                meets |= step.meets
        if taken:
            return taken
    return []


def _steps(workspace: Workspace, problems: Iterator[Problem]) -> Iterator[_Step]:
    for problem in problems:
        fix = chosen(workspace.fixes(problem))
        if fix is not None:
            yield _Step(problem, fix.title, text_edits(workspace, fix), fix.meets)


def _overlap(a: TextEdit, b: TextEdit) -> bool:
    """Whether two edits touch the same text, or insert at the same place."""
    one, two = sorted((a.span, b.span), key=lambda s: (s.start, s.end))
    return one.file == two.file and (one.end > two.start or one.start == two.start)


def _after(workspace: Workspace, steps: list[_Step]) -> Workspace:
    other = workspace.fork()
    for file, text in apply_edits(workspace, tuple(e for step in steps for e in step.edits)).items():
        other.set_text(file, text)
    return other


def _worse(before: Workspace, after: Workspace, mended: Problem) -> bool:
    """Whether there are problems as bad as the mended one, or worse, that were not there.

    What the mended problem had hidden does not count: a policy that is wrong by itself takes no part in the analyses.
    """
    severity, analysed = _level(before, mended)
    if not analysed:
        return False

    def found(workspace: Workspace) -> dict[Identity, int]:
        count: dict[Identity, int] = {}
        for p in workspace.problems():
            if workspace.severity(p) <= min(severity, Severity.WARNING):
                count[_identity(p)] = count.get(_identity(p), 0) + 1
        return count

    old = found(before)
    return any(n > old.get(p, 0) for p, n in found(after).items())
