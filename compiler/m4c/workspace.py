"""A workspace: the files behind the queries. The only part of the compiler core that reads the disk.

An open editor's text (`set_text`) stands before the file's. Everything else is read when it is first needed, and again
by `refresh`.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from m4c import checks, project
from m4c.db import Database, Durability, query
from m4c.declarations import parse_ahead
from m4c.diagnostics.registry import Severity, rule
from m4c.diagnostics.settings import DEFAULT, NAME, read_settings
from m4c.diagnostics.suppress import Judged, judge
from m4c.files import BOM, Inputs, Unreadable, beside, digest, is_file, looks_like_m4, m4_files, read_text
from m4c.fixes import fixes
from m4c.garbage import uncollected
from m4c.resources import shipped_specs, specs_dir
from m4c.semantics.model import Place
from m4c.semantics.problems import Fix, Problem
from m4c.syntax.cache import retain, store
from m4c.syntax.items import head


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a file: offsets in code points from its start, and zero-based lines and UTF-16 characters."""

    file: str
    start: int
    end: int
    start_line: int
    start_char: int
    end_line: int
    end_char: int


class Workspace:
    """The files of one folder (or some single files), and the database that everything is asked of.

    Paths are absolute and in POSIX form.
    """

    def __init__(self, paths: Iterable[Path], processes: int = 1) -> None:
        """`processes`: how many may work on what takes long."""
        self.db = Database()
        self.db.set("processes", processes, durability=Durability.SHIPPED)
        self.paths = [Path(os.path.abspath(p)) for p in paths]  # noqa: PTH100 - links stay as people name them
        self.read_problems: dict[str, Problem] = {}
        self.closed: tuple[Problem, ...] = ()  # folders that cannot be looked into
        self._open: dict[str, str] = {}
        self._unchanged: set[str] = set()  # of the open files those that are still taken as what is on the disk
        self._loaded: set[str] = set()
        self._consequences: tuple[Problem, ...] | None = None
        self._rejected: tuple[tuple[Problem, str], ...] = ()  # what `reject` was told
        self._settled: object = None  # what the files wanted when they were last looked at
        self._listed: set[str] = set()  # the M4 files that were on the disk when it was last looked at
        self._looked_for: set[str] = set()  # files of which only matters whether they are there
        self._beside: dict[str, tuple[str, ...]] = {}  # the names of the files in folders that fixes asked for
        self._lines: dict[str, tuple[str, list[int]]] = {}
        self._read_at: dict[str, int] = {}  # of each file, the revision since which its text is what it is
        # What was found in each file as it came, and in order, and the revision of the texts that this rests on.
        self._ordered: dict[str, tuple[list[Problem], list[Problem]]] = {}
        self._ordered_at = -1
        shipped = shipped_specs()
        self.db.set("shipped", tuple((n, p.as_posix()) for n, p in shipped.items()), durability=Durability.SHIPPED)
        self.db.set("shipped_folder", specs_dir().as_posix(), durability=Durability.SHIPPED)
        self._shipped = frozenset(p.as_posix() for p in shipped.values())
        self.refresh()

    def fork(self) -> Workspace:
        """A workspace with the same files; what is set in it changes nothing here."""
        other = Workspace.__new__(Workspace)
        other.db = self.db.fork()
        other._shipped, other._settled = self._shipped, self._settled
        other._consequences, other._listed = self._consequences, self._listed
        other._rejected = self._rejected
        other.paths, other.closed = list(self.paths), self.closed
        other.read_problems, other._lines = dict(self.read_problems), dict(self._lines)
        other._ordered, other._ordered_at = dict(self._ordered), self._ordered_at
        other._read_at = dict(self._read_at)
        other._beside, other._unchanged = dict(self._beside), set(self._unchanged)
        other._open, other._loaded, other._looked_for = dict(self._open), set(self._loaded), set(self._looked_for)
        return other

    # --- files ---

    def refresh(self) -> None:
        """Looks at the disk again: files that came, went or changed."""
        listed = [m4_files(p) for p in self.paths]
        closed = {folder: error for _, failed in listed for folder, error in failed}
        self.closed = tuple(_problem(folder, error) for folder, error in closed.items())
        self._listed = {f for found, _ in listed for f in found}
        files = sorted(self._listed | {f for f in self._open if f.endswith(".m4")})
        for file in {*self._shipped, *self._loaded, *files}:
            if file not in self._open:
                self._load(file)
        for file in self._looked_for:
            self._look_for(file)
        files = [f for f in files if f in self._open or self._is_ours(f)]
        self.db.set("files", tuple(files), durability=Durability.STORED)
        roots = sorted({p.as_posix() for p in self.paths if p.is_dir()}, key=len, reverse=True)
        self.db.set("roots", tuple(roots), durability=Durability.STORED)
        with uncollected():
            if (processes := self.db.input("processes")) > 1:
                parse_ahead(map(self.text, files), processes, self.db.checkpoint)
            self.settle()

    def remember(self) -> None:
        """Keeps what the files on the disk were parsed to for the next start."""
        store(self.text(f) for f in self._loaded if f.endswith(".m4") and f not in self._open)

    def tidy(self) -> None:
        """Forgets what is known of earlier texts. What is asked again and again has to have been asked since the last
        time."""
        self.db.sweep()
        project.tidy(self.db)
        retain(self.text(f) for f in {*self._loaded, *self._open} if f.endswith(".m4"))

    def inputs(self) -> Inputs | None:
        """What everything that has been said rests on; None where it cannot be told: some of it could not be read, or
        is in an editor."""
        if self._open or self.read_problems or self.closed:
            return None
        texts = {f: self.db.input_or("text", f, default=None) for f in sorted(self._loaded)}
        there = {f: bool(self.db.input("there", f)) for f in sorted(self._looked_for)}
        digests = {f: None if text is None else digest(str(text)) for f, text in texts.items()}
        return Inputs(sorted(self._listed), digests, there, dict(self._beside))

    def settle(self) -> None:
        """Reads the files that the known ones need (imports, graphs) until none is missing, and looks whether those
        are there that only artifacts are made from. What they need no more is let go."""
        settings: set[str] | None = None
        while True:
            wanted = project.wanted(self.db)
            if wanted == self._settled:
                break
            files, graphs = wanted
            settings = {s for f in (*files, *graphs, *self._roots()) for s in _settings_above(f)}
            new = [f for f in (*files, *graphs, *sorted(settings)) if f not in self._loaded and f not in self._open]
            for file in new:
                self._load(file)
            if not new:
                self._settled = wanted
        for file in project.wanted_templates(self.db):
            if file not in self._looked_for:
                self._look_for(file)
        while new := [f for f in checks.own_templates(self.db) if f not in self._loaded and f not in self._open]:
            for file in new:
                self._load(file)
        if settings is not None:
            files, graphs = project.wanted(self.db)
            own = checks.own_templates(self.db)
            self._let_go({*self._shipped, *self._listed, *self._open, *files, *graphs, *settings, *own})

    def _let_go(self, needed: set[str]) -> None:
        """Forgets the files that nothing names any more, such as imports while their names were being typed."""
        for file in self._loaded - needed:
            self._loaded.discard(file)
            self.read_problems.pop(file, None)
            self.db.let_go("text", file)
        for known in (self._lines, self._ordered, self._read_at):
            for file in known.keys() - needed:
                del known[file]
        for file in self._looked_for.difference(project.wanted_templates(self.db)):
            self._looked_for.discard(file)
            self.db.let_go("there", file)

    def _roots(self) -> list[str]:
        """A file in each of the folders that the workspace is of."""
        return [(p / NAME if p.is_dir() else p).as_posix() for p in self.paths]

    def set_text(self, file: str, text: str) -> None:
        """The text of a file as an editor has it."""
        known = file in self._open
        self._open[file] = text
        ours = file in self._listed and file in self.db.input("files") and file not in self.read_problems
        if not known and ours and self.text(file) == text:
            self._unchanged.add(file)
            return
        self._unchanged.discard(file)
        self.read_problems.pop(file, None)
        self._set(file, text, Durability.EDITED)
        if not known and file.endswith(".m4") and file not in self.db.input("files"):
            files = tuple(sorted((*self.db.input("files"), file)))
            self.db.set("files", files, durability=Durability.STORED)
        self.settle()

    def expect_edits(self) -> None:
        """Takes files that were opened as what is edited next. That costs a walk over what is known, which is not to be
        waited for when a file is opened, nor at its first edit, but done when there is time."""
        for file in self._unchanged:
            self._set(file, self._open[file], Durability.EDITED)
        self._unchanged.clear()

    def close(self, file: str) -> None:
        """The editor has closed a file: what is on the disk counts again."""
        was_open = self._open.pop(file, None) is not None
        self._unchanged.discard(file)
        if was_open or file in self._listed:
            self._load(file)
        if file not in self._listed:
            self._settled = None  # nobody may need it now
            self.refresh()  # it may be new on the disk, or may never have been there
            return
        if file in self.db.input("files") and self._is_ours(file):
            self.settle()
        else:
            self.refresh()

    def _is_ours(self, file: str) -> bool:
        if any(p.as_posix() == file for p in self.paths):
            return True
        text = self.db.input_or("text", file, default=None)
        return file in self.read_problems or (text is not None and looks_like_m4(text))

    def is_foreign(self, file: str) -> bool:
        """Whether a file is named as those of M4 are, and is one of the macro processor m4."""
        return file.endswith(".m4") and file not in self.db.input("files") and not looks_like_m4(self.text(file))

    def knows_within(self, folders: Iterable[str]) -> bool:
        """Whether one of these folders holds files of the workspace, or some that it has looked for."""
        known = {*self._listed, *self._loaded, *self._looked_for}
        return any(file.startswith(f"{folder}/") for folder in folders for file in known)

    def _load(self, file: str) -> None:
        self._loaded.add(file)
        self.read_problems.pop(file, None)
        text: str | None = None
        with contextlib.suppress(FileNotFoundError):
            try:
                text = read_text(file).removeprefix(BOM)  # editors do not count it either
            except Unreadable as e:
                self.read_problems[file] = _problem(file, e)
                text = ""
        self._set(file, text, Durability.SHIPPED if file in self._shipped else Durability.STORED)

    def _set(self, file: str, text: str | None, durability: Durability) -> None:
        before = self.db.revision
        self.db.set("text", file, text, durability=durability)
        if self.db.revision != before:
            self._read_at[file] = self.db.revision

    def _look_for(self, file: str) -> None:
        self._looked_for.add(file)
        self.db.set("there", file, is_file(file), durability=Durability.STORED)

    # --- answers ---

    @property
    def opened(self) -> tuple[str, ...]:
        """The files whose text is not the disk's but was set."""
        return tuple(self._open)

    def text(self, file: str) -> str:
        return str(self.db.input_or("text", file, default=None) or "")

    def read_since(self, revision: int) -> set[str]:
        """The files whose texts may have changed since a revision of the database."""
        return {file for file, at in self._read_at.items() if at > revision}

    def problems(self, quick: bool = False) -> list[Problem]:
        """Everything that is wrong, by file and place: what the settings leave, and no comment suppresses.

        `quick`: what only a plan and the tests tell is taken as it last was, where its declarations are still there.
        """
        return self.in_order(self.judged(quick).left)

    def reject(self, found: Iterable[tuple[Problem, str]]) -> None:
        """Takes what was found by building what is on the disk and having it validated, each with the digest of the
        text of its file. It counts until the next time, as long as its declarations are there; in a file that has none,
        as long as its text is the same."""
        self._rejected = tuple(found)

    def _stands(self, found: Problem, text: str) -> bool:
        places = [found.place, *(r.place for r in found.related)]
        there = all(p.decl in project.offsets(self.db, p.file) for p in places if p.decl)
        return there and (bool(found.place.decl) or digest(self.text(found.place.file)) == text)

    def suppressed(self) -> list[tuple[Problem, str]]:
        """What comments suppress, each with the reason."""
        return list(self.judged().suppressed)

    def judged(self, quick: bool = False) -> Judged:
        """What is wrong, in no order: `problems` and `suppressed` at once."""
        if not quick:
            self._consequences = tuple(checks.consequences(self.db))
        unread = self.read_problems
        later = [p for p in self._consequences or () if p.place.decl in project.offsets(self.db, p.place.file)]
        known = (*checks.problems(self.db), *later, *(p for p, text in self._rejected if self._stands(p, text)))
        if unread:
            known = tuple(p for p in known if p.place.file not in unread)
        found = [*unread.values(), *self.closed, *known]
        settings = dict.fromkeys((*settings_files(self.db), *map(self._settings, (*self._roots(), *self._open))))
        found += [p for s in settings if s is not None for p in read_settings(self.text(s), s).problems]
        complete = self._consequences is not None and all(rule(c).configurable for c in {p.code for p in found})
        comments = {f: a for f, a in checks.suppressions(self.db).items() if f not in unread}
        judged = judge(found, self._lines_of, comments, complete)
        if not any(s is not None for s in settings):
            return judged  # no settings: no kind is turned off
        level = _Levels(self)
        return Judged(
            tuple(p for p in judged.left if level(p) is not None),
            tuple((p, reason) for p, reason in judged.suppressed if level(p) is not None),
        )

    def _settings(self, file: str) -> str | None:
        """The file whose settings count for a file, the nearest in its folder or above; of settings, itself."""
        if file.endswith(f"/{NAME}"):
            return file if self.db.input_or("text", file, default=None) is not None else None
        return settings_for(self.db, posixpath.dirname(file))

    def _level(self, problem: Problem) -> Severity | None:
        """How bad a problem is by the settings for its file; None if it is not to be reported."""
        if not rule(problem.code).configurable:
            return rule(problem.code).severity
        settings = self._settings(problem.place.file)
        return (read_settings(self.text(settings), settings) if settings else DEFAULT).severity(problem.code)

    def _lines_of(self, problem: Problem) -> set[tuple[str, int]]:
        """The lines on which a comment may suppress a problem: those of its place (of both, if it is shown at two), and
        those with which the declarations there begin."""
        places = [problem.place, *(r.place for r in problem.related[:1] if problem.mirrored)]
        out: set[tuple[str, int]] = set()
        for place in places:
            span = self.span(place)
            last = span.end_line if place.end != -1 else span.start_line
            out |= {(place.file, line) for line in range(span.start_line, last + 1)}
            item = next((i for k, i in project.keyed(self.db, place.file) if k == place.decl), None)
            if item is not None:
                heads = (item.start + at for at in head(item.text))
                out |= {(place.file, self.position(place.file, at)[0]) for at in heads}
        return out

    def in_order(self, problems: Iterable[Problem]) -> list[Problem]:
        """Problems by file and place. What was found in a file that has not changed since is in order already."""
        of_file: dict[str, list[Problem]] = {}
        for p in problems:
            of_file.setdefault(p.place.file, []).append(p)
        before, edited = self._ordered, self.read_since(self._ordered_at)
        self._ordered, self._ordered_at = {}, self.db.revision
        out: list[Problem] = []
        for file in sorted(of_file):
            found, known = of_file[file], before.get(file)
            if known is None or file in edited or known[0] != found:
                offsets = project.offsets(self.db, file)

                def place(p: Problem, offsets: Mapping[str, int] = offsets) -> tuple[int, str, str]:
                    return offsets.get(p.place.decl, 0) + p.place.start, p.code, p.message

                known = found, sorted(found, key=place)
            self._ordered[file] = known
            out += known[1]
        return out

    def severity(self, problem: Problem) -> Severity:
        """How bad a problem is, by the settings for its file."""
        return self._level(problem) or rule(problem.code).severity

    def fixes(self, problem: Problem) -> tuple[Fix, ...]:
        """The ways to mend a problem, the best first."""

        def names(folder: str) -> tuple[str, ...]:
            self._beside[folder] = found = beside(folder)
            return found

        return fixes(self.db, problem, names)

    def meshes(self) -> tuple[str, ...]:
        return project.mesh_names(self.db)

    def offset(self, place: Place) -> int:
        """The start of a place in its file."""
        base = project.offsets(self.db, place.file).get(place.decl, 0) if place.decl else 0
        return base + place.start

    def span(self, place: Place) -> Span:
        """Where a place is in its file now. An `end` of -1 is the end of the declaration."""
        start = self.offset(place)
        if place.end == -1:
            end = next((i.end for k, i in project.keyed(self.db, place.file) if k == place.decl), start)
        else:
            end = start + place.end - place.start
        return self.at(place.file, start, end)

    def at(self, file: str, start: int, end: int) -> Span:
        """The span between two offsets of a file."""
        return Span(file, start, end, *self.position(file, start), *self.position(file, end))

    def _line_starts(self, file: str) -> tuple[str, list[int]]:
        text = self.text(file)
        cached = self._lines.get(file)
        if cached is None or cached[0] is not text:
            cached = (text, [0, *(m.end() for m in re.finditer(r"\r\n|\n|\r", text))])
            self._lines[file] = cached
        return cached

    def position(self, file: str, offset: int) -> tuple[int, int]:
        """(line, character) of an offset, both from 0, characters in UTF-16 units."""
        text, starts = self._line_starts(file)
        line = bisect.bisect_right(starts, offset) - 1
        return line, utf16_length(text[starts[line] : offset])

    def line(self, file: str, number: int) -> tuple[int, str]:
        """(offset, text without its end) of a line, counted from 0; the end of the file for one behind it."""
        text, starts = self._line_starts(file)
        if number >= len(starts):
            return len(text), ""
        end = starts[number + 1] if number + 1 < len(starts) else len(text)
        return starts[number], text[starts[number] : end].rstrip("\r\n")

    def offset_at(self, file: str, line: int, character: int) -> int:
        """The offset of a line and a UTF-16 character; beyond the end of the line is its end."""
        text, starts = self._line_starts(file)
        if line >= len(starts):
            return len(text)
        end = starts[line + 1] if line + 1 < len(starts) else len(text)
        at = starts[line]
        while at < end and character > 0 and text[at] not in "\r\n":
            character -= 2 if ord(text[at]) > 0xFFFF else 1
            at += 1
        return at


class _Levels:
    """As `Workspace.severity`, for many problems at once; None for what is not to be reported."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.known: dict[tuple[str, str], Severity | None] = {}

    def __call__(self, problem: Problem) -> Severity | None:
        key = (problem.code, problem.place.file)
        if key not in self.known:
            self.known[key] = self.workspace._level(problem)
        return self.known[key]


@query
def settings_for(db: Database, folder: str) -> str | None:
    """The settings that count for the files of a folder: the nearest, in it or above."""
    above = _settings_above(posixpath.join(folder, "_"))
    return next((s for s in above if db.input_or("text", s, default=None) is not None), None)


@query
def settings_files(db: Database) -> tuple[str, ...]:
    """All settings that count for some file."""
    found = (settings_for(db, folder) for folder in dict.fromkeys(map(posixpath.dirname, project.sources(db))))
    return tuple(dict.fromkeys(s for s in found if s is not None))


@lru_cache(maxsize=65536)
def _settings_above(file: str) -> tuple[str, ...]:
    """Where settings for a file may be, the nearest first."""
    return tuple((folder / NAME).as_posix() for folder in Path(file).parents)


def _problem(file: str, error: Unreadable) -> Problem:
    return Problem(error.code, str(error), Place(file, "", 0, 1))


def utf16_length(text: str) -> int:
    return len(text) + sum(ord(c) > 0xFFFF for c in text)
