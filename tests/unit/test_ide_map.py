"""The map of a mesh as data, and the page that the command line makes of it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cli_kit import command, environment, m4
from cursors import Desk
from m4c.ide.map import map_of, plain
from m4c.ide.survey import survey

FILES = {
    "shop.graph.yaml": (
        "services:\n  web: {entry: true, origin: false}\n  cart: {origin: false, labels: {kind: front}}\n"
        "  db: {external: true}\ncalls: [[web, cart], [cart, db]]\n"
    ),
    "mesh.m4": 'mesh shop { graph "shop.graph.yaml"; dataplanes ebpf, envoy; }\n',
}
POLICIES = (
    '@owner("é </script>") policy named (HttpRequest r) on * -> cart { r.SetHeader("x-a", "1"); }\n'
    "policy shut (HttpRequest r) on web -> cart { r.DropRequest(); }\n"
    'test "named" { request GET "/" on outside -> web -> cart; expect deny; }\n'
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path, FILES)
    desk.put(POLICIES.replace("web -> cart {", "* -> cart {") + "$0")
    return desk


def test_what_is_in_a_map(desk: Desk) -> None:
    found = map_of(desk.workspace, "shop", survey(desk.workspace)["shop"])
    said = plain(found, desk.shown)
    assert said["source"] == "mesh.m4:1: shop"
    assert (said["planned"], said["conflicts"]) == (True, [])
    cart, db, web = said["services"]
    assert web["source"] == "shop.graph.yaml:2: web"
    assert (web["entry"], cart["labels"], db["external"]) == (True, {"kind": "front"}, True)
    runs = {(s["name"], e["dataplane"]): e["runs"] for s in said["services"] for e in s["elements"]}
    assert runs
    operations = {r["operation"]: r["source"] for rows in runs.values() for r in rows}
    assert operations["SetHeader"] == 'here.m4:1: r.SetHeader("x-a", "1")'
    assert {(c["caller"], c["callee"]): c["source"] for c in said["calls"]} == {
        ("web", "cart"): "shop.graph.yaml:5: [web, cart]",
        ("cart", "db"): "shop.graph.yaml:5: [cart, db]",
    }
    assert [(p["name"], p["matched"], p["paths"]) for p in said["policies"]] == [
        ("named", 1, [["outside", "web", "cart"]]),
        ("shut", 1, [["outside", "web", "cart"]]),
    ]
    assert [(t["title"], t["source"]) for t in said["tests"]] == [("named", 'here.m4:3: "named"')]


def test_conflicts_stand_on_their_path(desk: Desk) -> None:
    desk.put(
        'policy a (HttpRequest r) on * -> cart { r.SetHeader("x-a", "1"); }\n'
        'policy b (HttpRequest r) on * -> cart { r.SetHeader("x-a", "2"); }\n$0'
    )
    found = map_of(desk.workspace, "shop", survey(desk.workspace)["shop"])
    assert found.planned is False
    ((code, policies, path),) = [(c.code, c.policies, c.path) for c in found.conflicts]
    assert (code, set(policies), path) == ("contradiction", {"a", "b"}, ("outside", "web", "cart"))
    assert [p.conflicts for p in found.policies] == [1, 1]


def test_nothing_is_planned_for_it(desk: Desk) -> None:
    desk.workspace.db.log = log = []
    found = map_of(desk.workspace, "shop", None)
    assert (found.planned, [s.elements for s in found.services]) == (False, [(), (), ()])
    assert "project.plan" not in {key.name for key in log}


def test_without_a_graph(tmp_path: Path) -> None:
    alone = Desk(tmp_path, {"mesh.m4": 'mesh shop { graph "nowhere.yaml"; dataplanes envoy; }\n'})
    found = map_of(alone.workspace, "shop", survey(alone.workspace)["shop"])
    assert (found.services, found.calls, found.policies) == ((), (), ())


def data_of(page: Path) -> dict[str, object]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"), re.S)
    assert match is not None
    (mesh,) = json.loads(match[1])["meshes"]
    assert isinstance(mesh, dict)
    return mesh


def test_the_command_line_writes_a_page(desk: Desk) -> None:
    (desk.folder / "here.m4").write_text(POLICIES, "utf-8")
    out = desk.folder / "map.html"
    done = m4("graph", "show", desk.folder, "--web", out)
    assert (done.code, done.out.endswith("map.html\n")) == (0, True), done.err
    found = data_of(out)
    assert (found["mesh"], found["planned"]) == ("shop", True)
    assert "é </script>" in json.dumps(found["policies"], ensure_ascii=False), "a text cannot end the data"
    assert len(out.read_text("utf-8")) > 100_000, "it needs nothing else"
    alone = m4("graph", "show", desk.folder / "shop.graph.yaml", "--web", out)
    assert (alone.code, data_of(out)["mesh"]) == (0, "shop.graph.yaml")
    nowhere = m4("graph", "show", desk.folder, "--web", desk.folder / "no/map.html")
    assert nowhere.code == 2
    assert "cannot write" in nowhere.err


def test_the_command_line_serves_the_page(desk: Desk) -> None:
    (desk.folder / "here.m4").write_text(POLICIES, "utf-8")
    environment_ = environment(XDG_STATE_HOME=str(desk.folder / "state"))
    serving = command("graph", "show", desk.folder, "--serve")
    with subprocess.Popen(
        serving, env=environment_, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            address = process.stdout.readline().split()[4]
            with urllib.request.urlopen(address, timeout=60) as answer:
                policy, text = answer.headers["content-type"], answer.read().decode()
            assert policy == "text/html; charset=utf-8"
            assert '"live": "live"' in text and "connect-src 'self'" in text
            with urllib.request.urlopen(f"{address}live", timeout=60) as answer:
                found = json.load(answer)
            assert found == {"mesh": "shop", "deployed": False, "message": "nothing is deployed"}
            for elsewhere in ("/", "/live", "/x/live"):
                with pytest.raises(urllib.error.HTTPError, match="404"):
                    urllib.request.urlopen(address.rsplit("/", 2)[0] + elsewhere, timeout=60)
            (desk.folder / "mesh.m4").unlink()
            (desk.folder / "here.m4").unlink()
            with pytest.raises(urllib.error.HTTPError, match="500") as caught:
                urllib.request.urlopen(address, timeout=60)
            assert "no M4 files in" in caught.value.read().decode()
        finally:
            process.send_signal(signal.SIGINT)
            said = process.stderr.read()
    assert (process.returncode, said) == (130, "m4: interrupted\n")
    alone = m4("graph", "show", desk.folder / "shop.graph.yaml", "--serve")
    assert alone.code == 2 and "no mesh is declared" in alone.err
