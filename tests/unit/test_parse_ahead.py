"""Files that several processes have parsed are as if one had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from m4c import declarations
from m4c.syntax import cache
from m4c.workspace import Workspace

GRAPH = "services:\n  web: {entry: true}\n  cart: {}\ncalls:\n  - [web, cart]\n"
FILES = 7


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("M4_CACHE", "")
    monkeypatch.setattr(declarations, "MUCH", 100)
    (tmp_path / "graph.yaml").write_text(GRAPH)
    (tmp_path / "mesh.m4").write_text('mesh shop {\n    graph "graph.yaml";\n    dataplanes ebpf;\n}\n')
    for i in range(FILES):
        text = f"policy p{i} (HttpRequest r) on web -> cart {{ r.DropRequest(); }}\n" * (i + 1)
        (tmp_path / f"{i}.m4").write_text(text + "policy broken (HttpRequest r on web { é😀\n")
    cache.forget()
    return tmp_path


def test_several_processes_find_what_one_does(folder: Path) -> None:
    alone = Workspace([folder]).problems()
    assert len({p.place.file for p in alone}) == FILES
    cache.forget()
    assert Workspace([folder], processes=3).problems() == alone


def test_each_parses_a_part(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parse = cache.parse_item
    seen = tmp_path / "seen"

    def parse_item(text: str) -> object:
        with seen.open("a") as out:
            out.write(f"{os.getpid()}\n")
        return parse(text)

    monkeypatch.setattr(cache, "parse_item", parse_item)
    Workspace([folder], processes=3)
    by = [int(line) for line in seen.read_text().split()]
    assert len(set(by)) == 3
    items = sum(len(cache.parse_file(f.read_text())) for f in folder.glob("*.m4"))
    assert os.getpid() in by
    assert len(by) >= items  # the shipped specs, too
    before = len(by)
    Workspace([folder], processes=3)
    assert len(seen.read_text().split()) == before


def test_what_a_process_fails_to_do_is_done_later(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Workspace([folder]).problems()
    cache.forget()
    here = os.getpid()
    encoded = declarations.encoded

    def fails(text: str) -> bytes:
        if os.getpid() != here:
            os._exit(1)
        return encoded(text)

    monkeypatch.setattr(declarations, "encoded", fails)
    assert Workspace([folder], processes=3).problems() == alone
