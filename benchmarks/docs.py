"""Puts what is measured into docs/performance.md, with the picture of its growth.

Usage: python -m benchmarks.docs [--sizes N …] [--draw]     (--draw: nothing is measured; from results that are there)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import table
from benchmarks.__main__ import ROOT, arguments, measure, save
from benchmarks.generate import Size
from benchmarks.plot import draw

PAGE = ROOT / "docs/performance.md"
PICTURE = ROOT / "docs/images/performance.svg"
SIZES = (100, 300, 1000, 3000, 10_000, 30_000, 100_000)
BEGIN = "<!-- measured by `make bench-docs` -->\n"
END = "<!-- end of what is measured -->\n"
PLANNER = "<!-- measured by `python -m benchmarks.placement --docs` -->\n"
ONE_HOP = "<!-- measured by `python -m benchmarks.onehop --docs` -->\n"


def section(results: Sequence[Mapping[str, Any]]) -> str:
    """The part of the page that is measured: the table of the size that has budgets, or of the nearest below it."""
    by_size = {r["size"]["policies"]: r for r in results}
    shown = by_size[max([n for n in by_size if n <= table.BUDGETED] or [min(by_size)])]
    large = by_size.get(table.LARGE)
    facts = "".join(f"- {line}\n" for line in table.about(shown))
    sizes = ", ".join(f"{n:,}" for n in sorted(by_size))
    growth = (
        f"Growth, at {sizes} policies. Bars at {table.BUDGETED:,} are budgets; where something was stopped, or is not "
        "there yet, there is no point."
    )
    picture = f"![Growth with the number of policies]({PICTURE.relative_to(PAGE.parent).as_posix()})"
    return f"{facts}\n{table.markdown(table.lines(shown, large))}\n{growth}\n\n{picture}\n"


def put(page: str, measured: str, begins: str = BEGIN) -> str:
    """The page with another measured part."""
    before, begin, rest = page.partition(begins)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for what is measured: it begins with {begins!r} and ends with {END!r}")
    return f"{before}{begins}\n{measured}\n{END}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="policies of each workspace")
    parser.add_argument("--draw", action="store_true", help="measure nothing, take the results that are there")
    arguments(parser)
    args = parser.parse_args()
    if not args.draw:
        for policies in args.sizes:
            save(measure(Size.of(policies), args), args.out)
    files = [args.out / f"{n}.json" for n in args.sizes]
    results = [json.loads(f.read_text()) for f in files if f.exists()]
    if not results:
        parser.error(f"no results in {args.out}")
    draw(results, PICTURE)
    PAGE.write_text(put(PAGE.read_text("utf-8"), section(results)), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
