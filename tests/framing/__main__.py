"""`make framing`: the corpus through every dataplane that runs here, as a table; `--docs` writes it into its page.

1 if a refused request reached the application, or an allowed one was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from m4bpf import KernelError
from m4deploy.errors import DeployError

from tests.framing.corpus import CASES
from tests.framing.run import Result, run
from tests.framing.subjects import SUBJECTS, in_force

PAGE = Path(__file__).resolve().parents[2] / "docs/framing.md"
BEGIN, END = "<!-- by `make framing` -->\n", "<!-- end of the table -->\n"
PORTS = 50
TOGETHER = 16  # cases that are sent at the same time: most of the time of each is waiting
NAMES = {"ebpf": "the kernel", "envoy": "Envoy", "haproxy": "HAProxy"}


async def results(subject: str, base_port: int, every: int = 1) -> list[Result]:
    """Of every case, cut in two at every place, or at some. Raises DeployError or KernelError."""
    with tempfile.TemporaryDirectory(prefix="m4-framing-") as folder:
        async with in_force(subject, Path(folder) / "mesh", base_port) as there:
            groups = [CASES[at : at + TOGETHER] for at in range(0, len(CASES), TOGETHER)]
            return [result for group in groups for result in await run(there, group, every)]


def rows(found: Mapping[str, Sequence[Result]]) -> Iterator[list[str]]:
    for number, case in enumerate(CASES):
        splits = next((str(of[number].splits) for of in found.values()), "")
        yield [case.section, case.name, splits, *(str(of[number]) for of in found.values())]


def table(found: Mapping[str, Sequence[Result]]) -> str:
    head = ["RFC 9112", "case", "splits", *(NAMES[name] for name in found)]
    lines = [head, ["---"] * len(head), *rows(found)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="framing", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--docs", action="store_true", help="write the table into the page")
    parser.add_argument("--base-port", type=int, default=24000, help="the first port that is listened at")
    args = parser.parse_args()
    found: dict[str, list[Result]] = {}
    for number, subject in enumerate(SUBJECTS):
        try:
            found[subject] = asyncio.run(results(subject, args.base_port + number * PORTS))
        except (DeployError, KernelError) as error:
            print(f"without {subject}: {error}", file=sys.stderr)
    said = table(found)
    print(said)
    wrong = [f"{name}: {r.case.name}: {why}" for name, of in found.items() for r in of for why in r.wrong]
    print("\n".join(wrong) or f"{sum(r.splits for of in found.values() for r in of):,} connections: nothing is wrong")
    if args.docs:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{said}\n{END}{rest.partition(END)[2]}", "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
