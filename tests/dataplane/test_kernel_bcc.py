"""The second loader: the same source, compiled by bcc where there is no clang, passes tests of the first one, and says
where its limits are. See also test_kernel_bcc_framing.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import m4bpf
import pytest
import test_kernel_connections
import test_kernel_edits
import test_kernel_loader
from kernelkit import TRUE, Server, compare, deny, header, inside, kernel_group
from m4bpf import bcc
from m4bpf.hops import read_policies
from m4bpf.layout import FULL, SMALL, lay_out
from m4bpf.loaded import load
from test_kernel_connections import calling, pay, stock
from test_kernel_edits import attached, counting, edit, rendered, server
from test_kernel_loader import ALLOWED, DENIED, compiled, compiled_rules, status

__all__ = ["attached", "calling", "compiled", "kernel_group", "pay", "server", "stock"]

if not bcc.available():
    pytest.skip(f"{bcc.PYTHON} has no bcc (Debian: python3-bpfcc)", allow_module_level=True)


@pytest.fixture(autouse=True, scope="module")
def without_clang() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("M4_CLANG", "no-clang-here")
        yield


test_in_force = test_kernel_loader.test_it_is_in_force_for_the_cgroup_and_its_hops_only
test_ip_versions = test_kernel_loader.test_ipv6_and_ipv4_through_an_ipv6_socket
test_nothing_is_left = test_kernel_loader.test_close_leaves_nothing_behind
test_replaced = test_kernel_loader.test_a_program_is_replaced_for_open_connections
test_closed = test_kernel_connections.test_nobody_of_the_service_connects_on_a_closed_hop
test_closed_later = test_kernel_connections.test_what_stood_before_carries_nothing_more
test_closed_in_both_ip_versions = test_kernel_connections.test_ipv6_and_ipv4_through_an_ipv6_socket
test_refusals = test_kernel_loader.test_refused_requests_are_counted_by_policy_and_told


def test_a_program_of_clang_takes_over_from_one_of_bcc(
    compiled: Path, server: Server, kernel_group: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("M4_CLANG")
    other = compiled_rules(compiled / "other", server, [deny(1, TRUE, 410)])
    with m4bpf.attach(compiled / "m4.bpf.o", kernel_group, compiled / "hops.json") as first, inside(kernel_group):
        assert [status(server, one) for one in (ALLOWED, DENIED)] == [200, 403]
        change = first.replacement(other / "m4.bpf.o", other / "hops.json")
        change.swap()
        change.settle()
        assert status(server, ALLOWED) == 410
    assert m4bpf.limits_of(compiled / "m4.bpf.o") is SMALL
    assert m4bpf.limits_of(other / "m4.bpf.o") is FULL


# From here on another program is in force for the same group and server.
test_one_change = test_kernel_edits.test_one_change_at_a_time


def test_counters_and_conditions_of_an_edit(
    attached: m4bpf.Attached, server: Server, kernel_group: Path, tmp_path: Path
) -> None:
    rules = [
        counting(1, "all"),
        deny(2, compare("url_path", "ends_with", ".bak"), 404),
        deny(3, header("x-group", "in", ["a,b", "evil"]), 451),
    ]
    edit(attached, rendered(tmp_path, server, rules))
    requests = {
        b"GET /x.bak HTTP/1.1\r\nHost: x\r\n\r\n": 404,
        b"GET /x HTTP/1.1\r\nX-Group: evil\r\n\r\n": 451,
        b"GET /x HTTP/1.1\r\nx-group: a\r\nHost: x\r\nX-GROUP: b\r\n\r\n": 451,
        b"GET /x HTTP/1.1\r\nX-Group: a\r\n\r\n": 200,
    }
    with inside(kernel_group):
        assert [status(server, one) for one in requests] == list(requests.values())
    assert attached.tallies(["all"]) == {"all": 4}


def test_no_state_for_each_value(tmp_path: Path, server: Server) -> None:
    hops = rendered(tmp_path, server, [deny(1, {"kind": "true"})])
    told = json.loads(hops.read_text())
    told["hops"][0]["rules"][0]["values"] = [{"part": "header", "key": "x-user"}]
    m4bpf.check(told)
    with pytest.raises(m4bpf.KernelError, match=r"no state for each value.*install clang"):
        m4bpf.check(told, SMALL)


@pytest.mark.parametrize(
    ("why", "when"),
    [
        ("cannot search in texts", compare("target", "contains", "x")),
        ("at most 32 bytes, not 33", compare("target", "==", "x" * 33)),
        ("take up to 41 steps of 31", compare("target", "in", [f"/{i}" for i in range(39)])),
        ("more than 13 headers", {"kind": "any", "of": [header("x" * i, "exists") for i in range(1, 15)]}),
        (
            "more than 4 headers have names of the same length",
            {"kind": "any", "of": [header(c, "exists") for c in "abcde"]},
        ),
    ],
)
def test_what_has_no_room(tmp_path: Path, server: Server, why: str, when: dict[str, Any]) -> None:
    """And what to do about it."""
    hops = rendered(tmp_path, server, [deny(1, when)])
    m4bpf.check(hops)
    with pytest.raises(m4bpf.KernelError, match=f"{why}.*install clang"):
        m4bpf.check(hops, SMALL)


def test_the_layout_is_that_of_the_program(compiled: Path) -> None:
    loaded = load(compiled / "m4.bpf.o", 1)
    try:
        made = lay_out(read_policies(compiled / "hops.json"), lambda counted: 0, SMALL)
        assert loaded.shapes["m4_sets"] == (len(made), 2)
    finally:
        loaded.close()


def test_what_does_not_compile_shows_what_bcc_says(tmp_path: Path) -> None:
    source = tmp_path / "bad.c"
    source.write_text('#include "m4_types.h"\nint m4_msg(void *m) { return nonsense; }\n')
    with pytest.raises(m4bpf.KernelError, match="does not compile with bcc") as caught:
        m4bpf.compile_program(source, tmp_path / "bad.o")
    assert "nonsense" in caught.value.detail
    assert list(tmp_path.iterdir()) == [source]


def test_the_probe_says_what_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    assert any("compiled by bcc" in note for note in m4bpf.probe().notes)
    monkeypatch.delenv("M4_CLANG")
    assert any("compiled by clang" in note and "is there" in note for note in m4bpf.probe().notes)
