"""`m4 graph import`: makes a graph file from manifests, Compose files, traces and traffic."""

from __future__ import annotations

import argparse
import os
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from m4c.cli.errors import UsageError
from m4c.cli.output import counted, printable, replace_file, takes_unicode
from m4c.cli.paths import relative
from m4c.graph.documents import MAX_BYTES, Input, Remark
from m4c.graph.imported import Options
from m4c.graph.importers import FORMATS, Result, import_graph
from m4c.graph.write import write_graph
from m4c.semantics.problems import nearest

STDIN = "<stdin>"
WIDTH = 118  # of the comment in a graph file
_ENDINGS = (".yaml", ".yml", ".json")
_SKIPPED = frozenset(("__pycache__", "node_modules", "venv"))
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def run(args: argparse.Namespace) -> int:
    """0: done. 1: an input is wrong, and nothing is written. 2: an input or the output cannot be used."""
    options = Options(_period(args.period))
    form = _form(args.form)
    output = Path(args.output) if args.output else None
    if output is not None:
        _check(output, args.force)
    given = list(_read(args.inputs, output))
    result = import_graph([i for _, i in given], options, form)
    for remark in result.notes:
        _say(remark, "note")
    for remark in result.problems:
        _say(remark, "error")
    if options.period and "jaeger" not in dict(result.used):
        _say(Remark("", 0, "`--period` is about the counts of Jaeger, and no input is of Jaeger"), "note")
    if result.graph is None:
        return 1
    header = _header(result, {i.name: argument for argument, i in given})
    if output is None:
        sys.stdout.write(write_graph(result.graph, header, plain=not takes_unicode()))
        return 0
    try:
        replace_file(output, write_graph(result.graph, header))
    except OSError as e:
        raise UsageError(f"cannot write {relative(str(output))}: {e.strerror}") from None
    graph = result.graph
    print(f"{relative(str(output))}: {counted(len(graph.services), 'service')}, {counted(len(graph.calls), 'call')}")
    return 0


def _say(remark: Remark, what: str) -> None:
    place = f"{remark.place}: " if remark.file else ""
    print(printable(f"{place}{what}: {remark.message}"), file=sys.stderr)


def _header(result: Result, arguments: Mapping[str, str]) -> list[str]:
    """What the graph was made from, what was guessed, and what only people know, as lines of a comment."""
    made = []
    for name, files in result.used:
        given = [arguments[f] for f in files]
        which = [a if a in files else f"{a} ({counted(given.count(a), 'file')})" for a in dict.fromkeys(given)]
        made.append(f"{FORMATS[name].title}: {', '.join(which)}")
    texts = [
        f"Made by `m4 graph import` from {'; '.join(made)}.",
        *(f"Guessed: {guess.message}." for guess in result.guesses),
        "Say `origin: false` of services that never start a request by themselves: no input knows it.",
    ]
    return [line for text in texts for line in textwrap.wrap(text, WIDTH, break_on_hyphens=False)]


# --- arguments --------------------------------------------------------------------------------------------------------


def _period(text: str | None) -> float | None:
    if text is None:
        return None
    m = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smhd]?)", text)
    seconds = float(m[1]) * _UNITS[m[2]] if m else 0.0
    if not seconds:
        raise UsageError(f"`--period {text}` is no time: say it as in `90s`, `30m`, `1h` or `1d`")
    return seconds


def _form(name: str | None) -> str | None:
    if name is None or name in FORMATS:
        return name
    near = nearest(name, FORMATS)
    hint = f"did you mean `{near}`?" if near else f"there is {', '.join(f'`{f}`' for f in FORMATS)}"
    raise UsageError(f"no format is called `{name}`; {hint}")


def _check(output: Path, force: bool) -> None:
    where = relative(str(output))
    if output.is_dir():
        raise UsageError(f"`{where}` is a folder; -o takes a file")
    if not output.parent.is_dir():
        raise UsageError(f"there is no folder `{relative(str(output.parent))}`")
    if output.exists() and not force:
        raise UsageError(f"`{where}` is there already; --force overwrites it")


# --- inputs -----------------------------------------------------------------------------------------------------------


def _read(inputs: Sequence[str], output: Path | None) -> Iterator[tuple[str, Input]]:
    """Every file once, with the argument that named it; not the one that is to be written, if it is in a folder."""
    seen: set[Path] = set()
    for given in inputs:
        path = Path(given)
        if given == "-":
            yield STDIN, Input(STDIN, sys.stdin.buffer.read(MAX_BYTES + 1))
        elif path.is_dir():
            files = list(_below(path))
            if not files:
                raise UsageError(f"no files that end in {', '.join(_ENDINGS)} in `{given}`")
            for file in files:
                if file.resolve() not in seen and (output is None or file.resolve() != output.resolve()):
                    seen.add(file.resolve())
                    yield given, Input(str(file), _bytes(file), asked=False)
        elif not path.exists():
            raise UsageError(f"there is no file or folder `{given}`")
        elif path.resolve() not in seen:
            seen.add(path.resolve())
            yield given, Input(given, _bytes(path))


def _bytes(file: Path) -> bytes:
    """What is in a file, as far as it can be too long. What the user names may be a pipe."""
    with file.open("rb") as f:
        return f.read(MAX_BYTES + 1)


def _below(folder: Path) -> Iterator[Path]:
    """The files of a folder that may be inputs, by name. Raises OSError for what cannot be looked into."""
    for here, folders, files in os.walk(folder, onerror=_failed):
        folders[:] = sorted(d for d in folders if not d.startswith(".") and d not in _SKIPPED)
        found = (Path(here, f) for f in sorted(files) if f.endswith(_ENDINGS) and not f.startswith("."))
        yield from (f for f in found if f.is_file())


def _failed(error: OSError) -> None:
    raise error
