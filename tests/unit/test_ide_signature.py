"""Signature help: which call is open at the cursor, and which of its parameters is due."""

from __future__ import annotations

from pathlib import Path

import pytest
from cursors import Desk
from m4c.ide.signature import signature

FILES = {
    "graph.yaml": "services:\n  web: {entry: true}\n  db: {versions: [v1, v2]}\ncalls: [[web, db]]\n",
    "mesh.m4": 'mesh shop { graph "graph.yaml"; dataplanes envoy; }\nstate TokenBucket limiter(rate: 1/s);\n',
}
HEAD = "policy p (HttpRequest r) on * -> db"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, FILES)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"{HEAD} {{ r.DropRequest($0", "DropRequest(<status: int in 400..599 = 403>)"),
        (f"{HEAD} {{ r.DropRequest($0); }}", "DropRequest(<status: int in 400..599 = 403>)"),
        (f"{HEAD} {{ r.DropRequest(4$004); }}", "DropRequest(<status: int in 400..599 = 403>)"),
        (f"{HEAD} {{ r.DropRequest(404$0); }}", "DropRequest(<status: int in 400..599 = 403>)"),
        (f'{HEAD} {{ r.SetHeader("x", $0', "SetHeader(name: istring, <value: string>)"),
        (f'{HEAD} {{ r.SetHeader("x,$0y", "z"); }}', "SetHeader(<name: istring>, value: string)"),
        (f'{HEAD} {{ r.SetHeader("é 😀", "$0"); }}', "SetHeader(name: istring, <value: string>)"),
        (f'{HEAD} {{ r.SetHeader(value: "x", $0', "SetHeader(name: istring, <value: string>)"),
        (f'{HEAD} {{ r.SetHeader(value: $0', "SetHeader(name: istring, <value: string>)"),
        (f'{HEAD} {{ r.SetHeader("a", "b", $0', "SetHeader(name: istring, value: string)"),
        (f"{HEAD} {{ r.Split({{ v1: 80%, $0", "Split(<versions: map<version, percent>>)"),
        (f"{HEAD} {{ r.Mirror(to: web, $0", "Mirror(to: service, <share: percent = 100%>)"),
        (f"{HEAD} when limiter.Take($0", "Take()"),
        (f"{HEAD} {{ if (limiter.Take($0", "Take()"),
        ("state TokenBucket l($0", "TokenBucket(<rate: rate>, burst: int)"),
        ("state TokenBucket l(rate: 1/s, burst: $0", "TokenBucket(rate: rate, <burst: int>)"),
        # a mistake further up, and a call that is not there yet
        (f"{HEAD} {{ r.Mark( ; r.DropRequest($0 }}", "DropRequest(<status: int in 400..599 = 403>)"),
        # not within the parentheses of a call
        (f"{HEAD} {{ r.DropRequest$0(404); }}", ""),
        (f"{HEAD} {{ r.DropRequest(404)$0; }}", ""),
        (f"{HEAD} {{ r.DropRequest(404); $0 }}", ""),
        (f"{HEAD} {{ r.Nothing($0", ""),
        (f"{HEAD} when ($0", ""),
        (f"{HEAD} {{ // r.DropRequest($0", ""),
        ("policy p (Http$0Request r) on * -> db { r.DropRequest(404); }", ""),
        ('@owner("$0")\npolicy p (HttpRequest r) on db { r.DropRequest(404); }', ""),
        ("$0", ""),
        ("state TokenBucket $0l(rate: 1/s);", ""),
    ],
)  # fmt: skip
def test_the_open_call_and_its_due_parameter(desk: Desk, text: str, shown: str) -> None:
    assert desk.signature(text) == shown


def test_a_signature_says_what_the_operation_does(desk: Desk) -> None:
    found = signature(desk.workspace, desk.here, desk.put(f"{HEAD} {{ r.DropRequest($0"))
    assert found is not None
    assert "Writes `verdict = deny`, `status = status`." in found.doc
