"""The contract of the other commands: what they print, where, and with which exit code."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from cli_kit import BOUTIQUE, CLASH, command, environment, hold, m4, process, shop, write
from m4c.diagnostics.registry import RULES

SETS_A_HEADER = 'policy a (HttpRequest r) on web -> cart { r.SetHeader("x", "1"); }\n'


def test_plan() -> None:
    done = m4("plan", BOUTIQUE, "--format", "json")
    plan = hold(done.json, "plan")
    assert (done.code, done.err, plan["optimal"]) == (0, "", True)
    assert 0 < plan["cost"] < plan["baseline_cost"]
    elements = {(e["service"], e["dataplane"]) for e in plan["elements"]}
    used = [*plan["operations"], *plan["context"]["updates"], *plan["context"]["reads"]]
    assert {(o["service"], o["dataplane"]) for o in used} == elements
    assert all(o["service"] == o["hop"][o["side"] == "ingress"] for o in used)
    text = m4("plan", BOUTIQUE)
    assert (text.code, text.err) == (0, "")
    assert f"cost {plan['cost']} (proven optimal)" in text.out


def test_trace() -> None:
    path = "loadgenerator,frontend,checkoutservice,paymentservice"
    done = m4("trace", BOUTIQUE, "--path", path, "--format", "json")
    trace = hold(done.json, "trace")
    assert (done.code, done.err) == (0, "")
    assert (trace["verdict"], trace["status"]) == ("deny", 403)
    assert [h["hop"] for h in trace["hops"]] == [
        ["loadgenerator", "frontend"],
        ["frontend", "checkoutservice"],
        ["checkoutservice", "paymentservice"],
    ]
    assert trace["hops"][-1]["fired"]
    text = m4("trace", BOUTIQUE, "--path", path)
    assert "ended on checkoutservice -> paymentservice" in text.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--path", "frontend,checkoutservic"), "no service `checkoutservic`; did you mean `checkoutservice`?"),
        (("--path", "frontend,paymentservice"), "no call from `frontend` to `paymentservice`"),
        (("--path", ","), "names at least one service"),
        (("--path", "outside,cartservice"), "`cartservice` is no entry"),
        (("--path", "outside,frontend", "--header", "x"), "--header takes NAME=VALUE"),
        (("--path", "outside,frontend", "--header", 'x"y=1'), "--header takes NAME=VALUE"),
        (("--path", "outside,frontend", "--header", "te=gzip"), "m4: --header te=gzip: "),
        (("--path", "outside,frontend", "--method", "get"), "m4: --method get: method is string in"),
        (("--path", "outside,frontend", "--set", "method=get"), "m4: --set method=get: method is string in"),
        (("--path", "outside,frontend", "--set", "metod=GET"), "did you mean `method`?"),
    ],
)
def test_trace_refuses_what_it_cannot_follow(options: tuple[str, ...], said: str) -> None:
    done = m4("trace", BOUTIQUE, *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_trace_does_without_an_expression_that_is_wrong(tmp_path: Path) -> None:
    wrong = 'policy wrong (HttpRequest r) on web -> cart when r.target matches r"a(" { r.SetHeader("x-a", "1"); }\n'
    right = 'policy right (HttpRequest r) on web -> cart { r.SetHeader("x-b", "1"); }\n'
    done = m4("trace", shop(tmp_path, wrong + right), "--path", "outside,web,cart")
    assert done.code == 0
    assert "`wrong` has errors" in done.err
    assert "fired: right\n" in done.out


def test_trace_tells_of_policies_that_it_lacks(tmp_path: Path) -> None:
    folder = shop(tmp_path, CLASH.replace('"web");', '"web", 3);'))
    done = m4("trace", folder, "--path", "outside,web,cart")
    assert done.code == 0
    assert "`one` has errors" in done.err
    assert "`two` has errors" not in done.err
    assert "header" in done.out


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_build(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    done = m4("build", BOUTIQUE, "-o", one)
    assert (done.code, done.err) == (0, "")
    assert m4("build", BOUTIQUE, "-o", one).code == 0
    other_seed = process("build", BOUTIQUE, "-o", two, env=environment(PYTHONHASHSEED="7"))
    assert other_seed.code == 0
    assert tree(one) == tree(two)
    manifest = hold(json.loads((one / "manifest.json").read_text()), "manifest")
    listed = {a["path"]: a["sha256"] for a in manifest["artifacts"]} | {"wiring.json": manifest["wiring"]}
    assert {name: hashlib.sha256(data).hexdigest() for name, data in tree(one).items()} == {
        **listed,
        "manifest.json": hashlib.sha256((one / "manifest.json").read_bytes()).hexdigest(),
    }
    for artifact in manifest["artifacts"]:
        assert artifact["path"].startswith(f"{artifact['dataplane']}/{artifact['service']}/")
        assert str(one / artifact["path"]) in done.out


def test_build_overwrites_nothing_of_others(tmp_path: Path) -> None:
    folder, out = (
        shop(tmp_path / "shop", SETS_A_HEADER),
        tmp_path / "out",
    )
    write(out, {"manifest.json": '{"name": "my web page"}', "notes.txt": "mine"})
    before = tree(out)
    done = m4("build", folder, "-o", out)
    assert (done.code, done.out) == (2, "")
    assert "manifest.json was not written by `m4 build`" in done.err
    assert "--force" in done.err
    assert tree(out) == before
    assert m4("build", folder, "-o", out, "--force").code == 0
    built = tree(out)
    assert built["notes.txt"] == b"mine"
    (artifact,) = (p for p in built if p.endswith("envoy.yaml"))

    for name in (artifact, "wiring.json"):
        (out / name).write_bytes(built[name] + b"# mine\n")
        done = m4("build", folder, "-o", out)
        assert (done.code, done.out) == (2, "")
        assert f"{name} was not written by `m4 build`, or changed since; --force overwrites it" in done.err
        assert (out / name).read_bytes().endswith(b"# mine\n")
        (out / name).write_bytes(built[name])

    write(folder, {"policies.m4": ""})
    assert m4("build", folder, "-o", out).code == 0
    assert set(tree(out)) == {"manifest.json", "wiring.json", "notes.txt"}
    write(folder, {"policies.m4": SETS_A_HEADER})
    assert m4("build", folder, "-o", out).code == 0
    assert tree(out) == built


def test_build_stays_inside_its_folder(tmp_path: Path) -> None:
    """Whatever an earlier manifest says."""
    folder, out = shop(tmp_path / "shop"), tmp_path / "out"
    victim = tmp_path / "victim"
    victim.write_text("precious")
    digest = hashlib.sha256(b"precious").hexdigest()
    paths = ("../victim", str(victim))
    write(out, {"manifest.json": json.dumps({"artifacts": [{"path": p, "sha256": digest} for p in paths]})})
    assert m4("build", folder, "-o", out).code == 0
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("out", ["policies.m4/out", "/proc/nowhere"])
def test_build_where_nothing_can_be_written(tmp_path: Path, out: str) -> None:
    folder = shop(tmp_path, SETS_A_HEADER)
    done = m4("build", ".", "-o", out, cwd=folder)
    assert (done.code, done.out) == (2, "")
    assert "cannot " in done.err


def test_a_full_disk_leaves_what_was_built(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    out = tmp_path / "small"
    out.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "m4-test", str(out)], check=False)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        folder = shop(tmp_path / "shop", SETS_A_HEADER)
        assert m4("build", folder, "-o", out / "o").code == 0
        before = tree(out)
        write(
            folder,
            {"policies.m4": f'policy a (HttpRequest r) on web -> cart {{ r.SetHeader("x", "{"y" * 60000}"); }}\n'},
        )
        done = m4("build", folder, "-o", out / "o")
        assert (done.code, done.out) == (2, "")
        assert "No space left on device" in done.err
        assert tree(out) == before
    finally:
        subprocess.run(["umount", str(out)], check=True)


def test_fmt(tmp_path: Path) -> None:
    folder = shop(tmp_path, "policy  a(HttpRequest r) on web->cart{r.DropRequest();}\n")
    before = tree(folder)
    done = m4("fmt", "--check", ".", cwd=folder)
    assert (done.code, done.out, done.err) == (1, "policies.m4\n", "")
    assert tree(folder) == before
    done = m4("fmt", ".", cwd=folder)
    assert (done.code, done.out, done.err) == (0, "policies.m4\n", "")
    assert m4("fmt", "--check", ".", cwd=folder).code == 0
    assert (folder / "policies.m4").read_text() == "policy a (HttpRequest r) on web -> cart { r.DropRequest(); }\n"


def test_explain() -> None:
    listed = m4("explain")
    assert (listed.code, listed.err) == (0, "")
    assert [line.split()[0] for line in listed.out.splitlines()] == list(RULES)
    for code in RULES:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
        assert m4("explain", code).out.startswith(f"# {code}: ")
    done = m4("explain", "contradicton")
    assert (done.code, done.out) == (2, "")
    assert "did you mean `contradiction`?" in done.err


def test_status_of_what_is_not_deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = shop(tmp_path / "shop")
    assert m4("status", folder).out == "nothing is deployed\n"
    assert m4("undeploy", folder).out == "mesh `shop` is not deployed\n"
    done = m4("deploy", folder, "--target", "directory")
    assert (done.code, done.out) == (2, "")
    assert "-o OUT" in done.err
    assert not (tmp_path / "state").exists()


def test_usage_errors_go_to_standard_error() -> None:
    for args in ((), ("nonsense",), ("check", "--format", "xml"), ("trace",), ("build",), ("explain", "a", "b")):
        done = m4(*args)
        assert (done.code, done.out) == (2, "")
        assert "usage: m4" in done.err


def test_the_version_is_that_of_the_package() -> None:
    assert m4("--version").out == f"m4 {version('xmesh')}\n"


def message(method: str, **fields: object) -> bytes:
    body = json.dumps({"jsonrpc": "2.0", "method": method, **fields}).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.parametrize("orderly", [True, False])
def test_lsp(orderly: bool) -> None:
    """The language server answers, and ends in silence when its client is done or gone."""
    sent = message("initialize", id=1, params={"processId": None, "rootUri": None, "capabilities": {}})
    sent += (message("shutdown", id=2) + message("exit")) if orderly else b""
    done = subprocess.run(command("lsp"), input=sent, env=environment(), capture_output=True, timeout=600, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b'"capabilities"' in done.stdout
