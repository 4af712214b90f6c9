"""`m4 build --validate`: the dataplanes say before anything is written whether they take it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from m4c.cli.validation import validate
from m4c.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("web", "cart", "stock", "db")


def shop(folder: Path, dataplane: str, policy: str = "r.DropRequest(418);") -> Path:
    folder = folder / "shop"
    shutil.copytree(ROOT / "specs" / dataplane, folder / dataplane)
    services = "".join(f"  {s}: {{}}\n" for s in SERVICES)
    calls = "".join(f"  - [{a}, {b}]\n" for a, b in pairwise(SERVICES))
    (folder / "graph.yaml").write_text(f"services:\n{services}calls:\n{calls}")
    (folder / "shop.m4").write_text(
        f'mesh shop {{ graph "graph.yaml"; dataplanes {dataplane}; }}\n'
        f"policy teapot (HttpRequest r) on * -> ? -> db {{ {policy} }}\n"
        f"policy every (HttpRequest r) on web -> cart {{ {policy} }}\n"
    )
    return folder


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def build(folder: Path, *more: str, **env: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "m4c.cli.main", "build", ".", "-o", "out", "--validate", *more]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=600, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("dataplane", ["envoy", "haproxy", "ebpf"])
def test_what_is_taken_is_written(tmp_path: Path, dataplane: str) -> None:
    folder = shop(tmp_path, dataplane)
    code, out, err = build(folder)
    assert (code, err) == (0, "2 elements validated\n")
    assert "artifacts in out" in out and (folder / "out/manifest.json").exists()


def test_what_is_refused_is_shown_and_nothing_is_written(tmp_path: Path) -> None:
    folder = shop(tmp_path, "haproxy")
    change(folder / "haproxy/drop.cfg.j2", "http-request return", "http-request retern")
    code, out, err = build(folder)
    assert (code, out) == (1, "")
    assert "error[rejected-artifact]: `haproxy` does not take what it would get at `cart`" in err
    assert "(and 1 other like it)" in err and err.count("rejected-artifact") == 1
    assert "--> haproxy/drop.cfg.j2:6:1" in err and "'retern'" in err
    assert err.endswith("nothing was written: 1 error\n")
    assert not (folder / "out").exists()


def test_what_is_refused_is_not_put_into_a_folder_either(tmp_path: Path) -> None:
    folder = shop(tmp_path, "haproxy")
    command = [sys.executable, "-m", "m4c.cli.main", "deploy", ".", "--target", "directory", "-o", "out"]

    def deploy() -> tuple[int, str, str]:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
        return done.returncode, done.stdout, done.stderr

    assert deploy()[0] == 0
    before = {p: p.read_bytes() for p in (folder / "out").rglob("*") if p.is_file()}
    assert len(before) > 3
    change(folder / "haproxy/drop.cfg.j2", "http-request return", "http-request retern")
    code, out, err = deploy()
    assert (code, out) == (1, "")
    assert "nothing changed" in err
    assert "--> haproxy/drop.cfg.j2:6:1" in err
    assert {p: p.read_bytes() for p in before} == before
    change(folder / "haproxy/spec.m4", "spec haproxy", "spec unknown")
    change(folder / "shop.m4", "dataplanes haproxy", "dataplanes unknown")
    code, out, err = deploy()
    assert (code, err) == (0, "")
    assert "not validated, as unknown cannot run here: " in out


def test_what_nothing_traces_is_shown_where_the_artifact_is_declared(tmp_path: Path) -> None:
    folder = shop(tmp_path, "haproxy")
    template = folder / "haproxy/haproxy.cfg.j2"
    template.write_text("{% set all %}\n" + template.read_text() + "{% endset %}\n{{ all | urlencode }}\n")
    workspace = Workspace([folder])
    problems = validate(workspace, "shop", {}).problems
    assert {p.code for p in problems} == {"rejected-artifact"}
    for problem in problems:
        span = workspace.span(problem.place)
        assert span.file == str(folder / "haproxy/spec.m4")
        assert workspace.text(span.file)[span.start : span.end] == '"haproxy.cfg"'


def test_what_is_known_is_not_asked_again(tmp_path: Path) -> None:
    folder = shop(tmp_path, "haproxy")
    first = validate(Workspace([folder]), "shop", {})
    assert (first.problems, list(first.known.values())) == ((), [None, None])
    claimed = dict.fromkeys(first.known, "what was said before")
    again = validate(Workspace([folder]), "shop", claimed)
    assert again.known == claimed
    assert all("what was said before" in p.message for p in again.problems) and again.problems


def test_of_many_elements_those_are_chosen_that_need_most_of_the_specs(tmp_path: Path) -> None:
    folder = shop(tmp_path, "haproxy")
    change(
        folder / "shop.m4",
        "policy every",
        'policy other (HttpRequest r) on stock -> db { r.SetHeader("x-a", "b"); }\npolicy every',
    )
    everything = validate(Workspace([folder]), "shop", {})
    some = validate(Workspace([folder]), "shop", {}, most=1)
    assert len(everything.known) > len(some.known) == 1
    change(folder / "haproxy/drop.cfg.j2", "http-request return", "http-request retern")
    assert validate(Workspace([folder]), "shop", {}, most=2).problems


def test_a_dataplane_that_is_not_installed_is_told_and_not_in_the_way(tmp_path: Path) -> None:
    folder = shop(tmp_path, "ebpf")
    code, out, err = build(folder, M4_CLANG="no-such-compiler", M4_BCC_PYTHON="no-such-python")
    assert (code, err.splitlines()[-1]) == (0, "not validated, for it is not installed: ebpf; `m4 doctor` says more")
    assert "artifacts in out" in out
