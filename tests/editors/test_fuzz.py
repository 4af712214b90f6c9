"""A client that does everything wrong: each request gets its answer, and the server still knows what the texts say."""

from __future__ import annotations

import asyncio
from pathlib import Path

from benchmarks.fuzz import fuzz
from benchmarks.soak import prepare


def test_a_client_that_does_everything_wrong(tmp_path: Path) -> None:
    folder, log = tmp_path / "shop", tmp_path / "log"
    prepare(folder, 20, seed=0)
    out = asyncio.run(asyncio.wait_for(fuzz(folder, 400, seed=0, log=log), 600))
    assert (out.messages, out.compared) == (400, 1)
    assert len(out.kinds) == 20, f"only {sorted(out.kinds)} were tried"
    assert "Traceback" not in log.read_text("utf-8", "replace"), "something failed where nobody was told"
