"""`m4 fmt`: formats files in place, or says which ones are not formatted."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from m4c.cli.errors import UsageError
from m4c.cli.output import replace_file
from m4c.cli.paths import relative
from m4c.files import Unreadable, looks_like_m4, m4_files, read_text
from m4c.syntax.parser import parse_item
from m4c.syntax.printer import format_text, left_alone

UNSURE = "it would not mean the same afterwards, which is a bug in M4; please report it"


def run(args: argparse.Namespace) -> int:
    """0: done. 1: with `--check`, a file is not formatted. 2: a file could not be read or written."""
    files, closed = _files(args.paths)
    for folder, why in closed:
        print(f"m4: {relative(folder)}: {why}", file=sys.stderr)
    changed, failed = 0, bool(closed)
    for file in files:
        try:
            text = read_text(str(file))
            if not looks_like_m4(text):
                continue
            formatted = format_text(text)
            if formatted != text:
                changed += 1
                if not args.check:
                    replace_file(file, formatted)
                print(relative(str(file)))
        except FileNotFoundError:  # gone since it was listed
            continue
        except (OSError, Unreadable) as e:
            failed = True
            print(f"m4: {relative(str(file))}: {getattr(e, 'strerror', None) or e}", file=sys.stderr)
            continue
        for item in left_alone(text):
            parsed = parse_item(item.text)
            at, reason = (0, UNSURE) if parsed.whole else (parsed.problems[0].start, parsed.problems[0].message)
            line = len(re.findall(r"\r\n|\n|\r", text[: item.start + at])) + 1
            print(f"m4: {relative(str(file))}:{line}: not formatted: {reason}", file=sys.stderr)
    if failed:
        return 2
    return 1 if args.check and changed else 0


def _files(paths: list[str]) -> tuple[list[Path], list[tuple[str, Unreadable]]]:
    """The files below some paths, and the folders that cannot be looked into."""
    for path in paths:
        if not path or not Path(path).exists():
            raise UsageError(f"there is no file or folder `{path}`")
    listed = [m4_files(Path(p)) for p in paths]
    found = list(dict.fromkeys(Path(f) for files, _ in listed for f in files))
    closed = [c for _, failed in listed for c in failed]
    if not found and not closed:
        raise UsageError(f"no files that end in .m4 in {', '.join(f'`{p}`' for p in paths)}")
    return found, closed
