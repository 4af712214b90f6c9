"""Random edits of all kinds, at the speed of a machine: nothing that is found is lost, and nothing stays."""

from __future__ import annotations

import asyncio
from pathlib import Path

from benchmarks.soak import prepare, soak


def test_what_is_published_is_what_the_texts_say(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    prepare(folder, 60, seed=0)
    out = asyncio.run(asyncio.wait_for(soak(folder, 200, seed=0, comparisons=2), 600))
    assert (out.edits, out.compared) == (200, 2)
    assert len(out.kinds) == 10, f"only {out.kinds} were tried"
