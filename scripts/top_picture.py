"""The picture of `m4 top` in docs/howto/deploy.md: an example deployed, with requests from several clients.

Run by hand, where every dataplane of the example can run: `make top-picture`.
"""

from __future__ import annotations

import argparse
import io
import itertools
import re
import tempfile
import threading
import time
from pathlib import Path

from m4c.cli import jobs
from m4c.cli.common import choose_mesh
from m4c.workspace import Workspace
from m4deploy import local
from m4deploy.proof import requests, sent
from m4deploy.top import Sample, sample, screen_of
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
COLUMNS, LINES = 120, 60
FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


def look(state: Path, before: tuple[Sample, float] | None) -> tuple[Sample, float]:
    found, at = local.top(state), time.monotonic()
    if found is None:
        raise SystemExit("the mesh has ended")
    return (sample(found, before[0], at - before[1]) if before else sample(found, None, 0.0)), at


def drawn(now: Sample) -> str:
    """The screen as it is shown in a terminal. Whoever looks at it shall load no font from elsewhere."""
    console = Console(
        record=True, width=COLUMNS, height=LINES, highlight=False, force_terminal=True, file=io.StringIO()
    )
    console.print(screen_of(now, LINES))
    made = console.export_svg(title=f"m4 top: {now.mesh}", unique_id="m4-top")
    return FONTS.sub("", made).replace("Fira Code, ", "")


def main() -> None:
    parser = argparse.ArgumentParser(prog="top_picture", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--example", type=Path, default=ROOT / "examples/online-boutique")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images/top.svg")
    parser.add_argument("--seconds", type=float, default=10, help="of requests, before the picture is taken")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--base-port", type=int, default=20000)
    args = parser.parse_args()
    workspace = Workspace([args.example])
    mesh = choose_mesh(workspace, None)
    if lacking := jobs.unavailable(workspace, mesh):
        raise SystemExit(f"without {', '.join(lacking)} it would be another picture")
    program, _ = jobs.planned(workspace, mesh)
    over = threading.Event()
    with tempfile.TemporaryDirectory(prefix="m4-picture-") as folder:
        built = jobs.write(jobs.rendered(workspace, mesh, args.base_port), Path(folder, "built")).folder
        state = Path(folder, "state")
        with local.deploy(built, state, foreground=True) as deployment:

            def client(number: int) -> None:
                todo = list(requests(program))
                for path, request in itertools.islice(itertools.cycle(todo), number * len(todo) // args.clients, None):
                    if over.is_set():
                        return
                    sent(deployment, path, request)

            clients = [threading.Thread(target=client, args=(n,)) for n in range(args.clients)]
            for one in clients:
                one.start()
            try:
                look(state, None)  # a proxy tells of denied requests while somebody looks
                time.sleep(args.seconds / 2)
                before = look(state, None)
                time.sleep(args.seconds / 2)
                now, _ = look(state, before)
            finally:
                over.set()
                for one in clients:
                    one.join()
    args.out.write_text(drawn(now), encoding="utf-8")
    print(f"{args.out}: {sum(h.rate for h in now.hops):,.0f} requests/s seen by all elements")


if __name__ == "__main__":
    main()
