"""The cache of parsed files: what is on the disk is what parsing gives, or it is not used."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from m4c.syntax import cache, disk, parser
from m4c.syntax.cache import load, parse_file, store
from m4c.syntax.encoding import decode, encode

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted([*ROOT.glob("specs/**/*.m4"), *ROOT.glob("examples/*/*.m4")])
TEXT = """mesh shop { graph "shop.graph.yaml"; dataplanes envoy; }
/// Nobody pays twice.
policy once (HttpRequest r) on a -> * -> "b c" when r.header["x-\\u00e9"] in ["1", "é"] { r.DropRequest(status: 403); }
policy broken (HttpRequest r) on a { r.DropRequest( }
state TokenBucket limiter(rate: 100/s, burst: 20);
"""
OTHER = TEXT.replace("403", "404")


def afresh() -> None:
    """What a new process knows."""
    cache.forget()
    parser.forget()
    disk._opened.clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where entries are."""
    monkeypatch.setenv("M4_CACHE", str(tmp_path / "cache"))
    afresh()
    return tmp_path / "cache/items"


def entry(folder: Path, text: str) -> Path:
    name = cache._name(text)
    assert name is not None
    return folder / name


def is_rebuilt(folder: Path) -> bool:
    """Whether an entry that cannot be used is parsed and written again."""
    afresh()
    assert load(TEXT) is None
    wanted = repr(tuple((i, parser.parse_anew(i.text)) for i, _ in parse_file(TEXT)))
    assert repr(parse_file(TEXT)) == wanted
    store([TEXT])
    afresh()
    return repr(load(TEXT)) == wanted


# --- what is kept -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", SHIPPED, ids=lambda f: f.name)
def test_what_is_read_is_what_was_parsed(file: Path) -> None:
    text = file.read_text("utf-8")
    parsed = repr(parse_file(text))
    data = encode(parse_file(text))
    parser.forget()
    assert repr(decode(data, text)) == parsed


def test_a_second_start_parses_nothing(folder: Path) -> None:
    parsed = repr(parse_file(TEXT))
    assert load(TEXT) is None
    store([TEXT])
    code = """if True:
        import sys
        from m4c.syntax.cache import parse_file
        print(repr(parse_file(sys.argv[1])), "lark" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code, TEXT], capture_output=True, text=True, check=True)
    assert done.stdout == f"{parsed} False\n"


def test_what_is_read_is_what_parse_item_says(folder: Path) -> None:
    store([TEXT])
    afresh()
    for item, parsed in parse_file(TEXT):
        assert parser.parse_item(item.text) is parsed


def test_an_entry_is_written_once(folder: Path) -> None:
    store([TEXT, TEXT])
    before = entry(folder, TEXT).stat()
    afresh()
    assert load(TEXT) is not None
    store([TEXT])
    assert entry(folder, TEXT).stat() == before


def test_texts_and_versions_are_told_apart(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store([TEXT])
    assert load(OTHER) is None
    monkeypatch.setattr(cache, "_version", lambda: b"another")
    assert load(TEXT) is None


@pytest.mark.parametrize("text", ["", "\n", "// nothing\n", "\ud800 policy", "\ufeffmesh m;", "/* open"])
def test_odd_texts(folder: Path, text: str) -> None:
    parsed = repr(parse_file(text))
    store([text])
    afresh()
    assert repr(load(text)) == parsed


# --- damage -----------------------------------------------------------------------------------------------------------


def test_an_entry_that_is_cut(folder: Path) -> None:
    store([TEXT])
    whole = entry(folder, TEXT).read_bytes()
    for size in {0, 1, 15, 16, 17, len(whole) // 2, len(whole) - 1}:
        entry(folder, TEXT).write_bytes(whole[:size])
        assert is_rebuilt(folder)


def test_an_entry_with_a_wrong_byte(folder: Path) -> None:
    store([TEXT])
    whole = entry(folder, TEXT).read_bytes()
    for at in range(0, len(whole), 7):
        entry(folder, TEXT).write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        afresh()
        assert load(TEXT) is None
    assert is_rebuilt(folder)


def test_an_entry_of_another_text(folder: Path) -> None:
    store([TEXT, OTHER])
    entry(folder, OTHER).replace(entry(folder, TEXT))
    assert is_rebuilt(folder)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"7",
        b"[7]",
        b"[[]]",
        b'{"a": 1}',
        b"[" * 100_000,
        b"9" * 100_000,
        b"\xff\xfe",
        b'[["policy", 0, 9, [999, 1], [0], true]]',
        b'[["policy", 0, 9, ["x"], [0], true]]',
        b'[["policy", 0, 9, [], [0], true]]',
        b'[["policy", 0, 9, null, [0], true]]',
        b'[["policy", "a", 9, [1, 2], [0], true]]',
        b'[["policy", 0, 9, [1, 2, 3], [0], true]]',
        b'[["policy", 0, 9, ' + b"[0, " * 500 + b"1" + b"]" * 500 + b", [0], true]]",
    ],
)
def test_bytes_that_somebody_made_up(folder: Path, data: bytes) -> None:
    """They have the right checksum, and run no code and raise nothing else all the same."""
    store([OTHER])
    name = cache._name(TEXT)
    assert name is not None
    entry(folder, TEXT).write_bytes(disk.seal(name, data) + data)
    assert is_rebuilt(folder)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_an_entry_that_is_no_file(folder: Path, make: Callable[[Path], None]) -> None:
    store([OTHER])
    make(entry(folder, TEXT))
    assert load(TEXT) is None
    store([TEXT])
    assert repr(parse_file(TEXT)) == repr(tuple((i, parser.parse_anew(i.text)) for i, _ in parse_file(TEXT)))


# --- the folder -------------------------------------------------------------------------------------------------------


def test_it_is_the_users_own(folder: Path) -> None:
    store([TEXT])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(f.stat().st_mode) for f in folder.iterdir()] == [0o600]


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o701, 0o755])
def test_a_folder_that_others_can_enter_is_not_used(folder: Path, mode: int) -> None:
    store([TEXT])
    folder.chmod(mode)
    afresh()
    assert load(TEXT) is None
    store([OTHER])
    assert list(folder.iterdir()) == [entry(folder, TEXT)]


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder away takes root")
def test_a_folder_of_somebody_else_is_not_used(folder: Path) -> None:
    store([TEXT])
    os.chown(folder, 65534, 65534)
    afresh()
    assert load(TEXT) is None


def test_a_link_is_not_used(folder: Path, tmp_path: Path) -> None:
    store([TEXT])
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    afresh()
    assert load(TEXT) is None


def test_a_folder_that_cannot_be_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("M4_CACHE", str(tmp_path / "file"))
    afresh()
    store([TEXT])
    assert load(TEXT) is None
    assert len(parse_file(TEXT)) == 4


def test_a_folder_that_went_away_is_no_error(folder: Path) -> None:
    store([TEXT])
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    store([OTHER])
    assert load(TEXT) is None


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    places = [
        ({}, tmp_path / "home/.cache/xmesh/items"),
        ({"XDG_CACHE_HOME": "relative"}, tmp_path / "home/.cache/xmesh/items"),
        ({"XDG_CACHE_HOME": str(tmp_path / "xdg")}, tmp_path / "xdg/xmesh/items"),
        ({"XDG_CACHE_HOME": str(tmp_path / "xdg"), "M4_CACHE": str(tmp_path / "own")}, tmp_path / "own/items"),
    ]
    for variables, folder in places:
        for name in ("XDG_CACHE_HOME", "M4_CACHE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        afresh()
        store([TEXT])
        assert entry(folder, TEXT).exists()


def test_it_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("M4_CACHE", "")
    monkeypatch.chdir(tmp_path)
    afresh()
    store([TEXT])
    assert load(TEXT) is None
    assert list(tmp_path.iterdir()) == []


# --- size, and others -------------------------------------------------------------------------------------------------


def test_what_was_used_least_recently_goes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [TEXT.replace("403", str(400 + i)) for i in range(8)]
    store(texts)
    for age, text in enumerate(texts):
        when = entry(folder, text).stat().st_mtime - (age + 2) * 24 * 3600
        os.utime(entry(folder, text), (when, when))
    afresh()
    assert load(texts[-1]) is not None  # now it is the latest
    size = sum(f.stat().st_size for f in folder.iterdir())
    monkeypatch.setattr(disk, "LIMIT", size - 1)
    store([OTHER.replace("shop", "mart")])
    left = {f.name for f in folder.iterdir()}
    assert sum(f.stat().st_size for f in folder.iterdir()) <= size * 3 / 4
    assert {entry(folder, texts[i]).name in left for i in (0, 1, 7)} == {True}
    assert {entry(folder, texts[i]).name in left for i in (4, 5, 6)} == {False}


def test_several_processes_at_once(folder: Path) -> None:
    """They write, read and remove the same entries, and each has the right trees."""
    code = """if True:
        import sys
        from m4c.syntax import cache, disk, parser
        disk.LIMIT = 20_000
        texts = [sys.argv[1].replace("403", str(400 + i)) for i in range(12)]
        wanted = [repr(cache.parse_file(t)) for t in texts]
        for _ in range(15):
            cache.forget(), disk._opened.clear()
            assert [repr(cache.parse_file(t)) for t in texts] == wanted
            cache.store(texts)
        print("done")
    """
    command = [sys.executable, "-c", code, TEXT]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    assert [(p.communicate(timeout=600), p.returncode) for p in running] == [((b"done\n", b""), 0)] * 3
    assert [f.name for f in folder.iterdir() if "." in f.name] == []
