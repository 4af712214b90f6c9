"""Loading, attaching and leaving: what is in force where, what an error says, and that nothing stays behind."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import m4bpf
import pytest
from kernelkit import (
    Client,
    Server,
    compare,
    deny,
    egress,
    element,
    elsewhere,
    header,
    in_force,
    inside,
    kernel_group,
    render,
)
from m4bpf import bcc
from m4bpf.hops import read_policies, remote_key

__all__ = ["kernel_group"]

ALLOWED = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"
DENIED = b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"
RULES = [deny(1, compare("url_path", "==", "/admin"))]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def status(server: Server, request: bytes, host: str | None = None) -> int:
    with Client(server, host) as client:
        client.send(request)
        return client.answer().status


@pytest.fixture
def compiled(server: Server, kernel_group: Path, tmp_path: Path) -> Path:
    render(element([egress("pay", RULES)], {"pay": [server.address]}), tmp_path)
    m4bpf.compile_program(tmp_path / "m4.bpf.c", tmp_path / "m4.bpf.o", [])
    return tmp_path


def identities() -> list[tuple[str, int]]:
    """The kernel's numbers of this process's programs, maps and links."""
    found = []
    for fd in Path("/proc/self/fdinfo").iterdir():
        try:
            lines = dict(line.split(":\t", 1) for line in fd.read_text().splitlines() if ":\t" in line)
        except OSError:
            continue
        for kind in ("prog", "map", "link"):
            if f"{kind}_id" in lines:
                found.append((kind, int(lines[f"{kind}_id"])))
    return sorted(set(found))


def exists(kind: str, number: int) -> bool:
    done = subprocess.run(["bpftool", kind, "show", "id", str(number)], capture_output=True, check=False)
    return done.returncode == 0


def gone(objects: list[tuple[str, int]], seconds: float = 60) -> bool:
    """The kernel frees maps a little later."""
    deadline = time.monotonic() + seconds
    while any(exists(*one) for one in objects):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_the_probe_is_a_value_with_sentences() -> None:
    found = m4bpf.probe()
    assert found.ok == (not found.reasons)
    assert all(isinstance(reason, str) and " " in reason for reason in found.reasons + found.notes)


def test_the_probe_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("M4_CLANG", raising=False)
    monkeypatch.setattr(bcc, "PYTHON", "no-python-here")
    bcc.available.cache_clear()
    found = m4bpf.probe()
    bcc.available.cache_clear()
    assert not found.ok
    assert any("clang" in reason and "install" in reason for reason in found.reasons)


def test_the_probe_without_privileges(kernel_group: Path) -> None:
    done = elsewhere(
        """
        import os, sys
        sys.path[:0] = sys.argv[1:]
        import m4bpf
        m4bpf.probe()  # imports what the other user may not be able to read
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        found = m4bpf.probe()
        print(found.ok, found.reasons)
        """,
        *sys.path,
    )
    assert done.stdout.startswith("False ('eBPF needs privileges"), done.stderr


def test_it_is_in_force_for_the_cgroup_and_its_hops_only(server: Server, kernel_group: Path, compiled: Path) -> None:
    other = Server()
    try:
        with m4bpf.attach(compiled / "m4.bpf.o", kernel_group, compiled / "hops.json") as attached:
            assert status(server, DENIED) == 200  # not in the cgroup
            with inside(kernel_group):
                assert status(server, DENIED) == 403
                assert status(server, ALLOWED) == 200
                assert status(other, DENIED) == 200  # not a hop
                assert status(server, b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx") == 400
            assert attached.counters() == {
                "egress.pay": {"seen": 3, "allowed": 1, "denied": 1, "tagged": 0, "errors": 1}
            }
        with inside(kernel_group):
            assert status(server, DENIED) == 200
    finally:
        other.close()


def test_not_http_to_other_ports_passes_unread(kernel_group: Path, server: Server, compiled: Path) -> None:
    with (
        m4bpf.attach(compiled / "m4.bpf.o", kernel_group, compiled / "hops.json"),
        inside(kernel_group),
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as ours,
    ):
        theirs, _ = listener.accept()
        with theirs:
            ours.sendall(b"\x16\x03\x01 not HTTP")
            assert theirs.recv(100) == b"\x16\x03\x01 not HTTP"
            theirs.sendall(b"DENIED")
            assert ours.recv(100) == b"DENIED"


@pytest.mark.parametrize(("listen", "dial"), [("::1", "::1"), ("127.0.0.1", "::ffff:127.0.0.1")])
def test_ipv6_and_ipv4_through_an_ipv6_socket(kernel_group: Path, tmp_path: Path, listen: str, dial: str) -> None:
    server = Server(listen)
    try:
        with in_force([egress("pay", RULES)], {"pay": [server.address]}, tmp_path, kernel_group), inside(kernel_group):
            assert status(server, DENIED, dial) == 403
            assert status(server, ALLOWED, dial) == 200
    finally:
        server.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_fast_open_does_not_get_around_it(kernel_group: Path, tmp_path: Path, host: str) -> None:
    server = Server(host.removeprefix("::ffff:"))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with in_force([egress("pay", RULES)], {"pay": [server.address]}, tmp_path, kernel_group), inside(kernel_group):
            with socket.socket(family) as client, pytest.raises(PermissionError):
                client.sendto(DENIED, socket.MSG_FASTOPEN, (host, server.port))
            with socket.socket(family) as client, pytest.raises(PermissionError):
                client.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
                client.connect((host, server.port))
            assert status(server, ALLOWED, host) == 200
            assert len(server.seen) == 1
    finally:
        server.close()


def test_two_services_side_by_side(server: Server, kernel_group: Path, tmp_path: Path) -> None:
    """The same callee, other rules, another cgroup; and the groups' parent stays until the last one goes."""
    other = m4bpf.make_cgroup(f"m4-test-{os.getpid()}/back")
    strict = [deny(1, compare("method", "==", "GET"), 405)]
    remote = {"pay": [server.address]}
    try:
        with (
            in_force([egress("pay", RULES)], remote, tmp_path / "front", kernel_group),
            in_force([egress("pay", strict)], remote, tmp_path / "back", other),
        ):
            with inside(kernel_group):
                assert [status(server, ALLOWED), status(server, DENIED)] == [200, 403]
            with inside(other):
                assert [status(server, ALLOWED), status(server, DENIED)] == [405, 405]
    finally:
        m4bpf.remove_cgroup(other)
    assert kernel_group.is_dir()


def test_close_leaves_nothing_behind(server: Server, kernel_group: Path, compiled: Path) -> None:
    if shutil.which("bpftool") is None:
        pytest.skip("bpftool is not installed")
    before = set(identities())
    attached = m4bpf.attach(compiled / "m4.bpf.o", kernel_group, compiled / "hops.json")
    with inside(kernel_group), Client(server) as open_connection:
        open_connection.send(ALLOWED)
        assert open_connection.answer().status == 200
        made = [one for one in identities() if one not in before]
        assert {kind for kind, _ in made} == {"prog", "map", "link"}
        assert all(exists(*one) for one in made)
        attached.close()
        attached.close()
        open_connection.send(DENIED)  # no longer in force
        assert open_connection.answer().status == 200
    assert gone(made)
    assert set(identities()) == before
    with pytest.raises(m4bpf.KernelError):
        attached.counters()


def test_a_killed_process_leaves_nothing_behind(server: Server, kernel_group: Path, compiled: Path) -> None:
    if shutil.which("bpftool") is None:
        pytest.skip("bpftool is not installed")
    code = """
import json, sys, time
sys.path[:0] = sys.argv[3:]
from pathlib import Path
from typing import Any
import m4bpf
from test_kernel_loader import identities
folder = Path(sys.argv[1])
attached = m4bpf.attach(folder / "m4.bpf.o", Path(sys.argv[2]), folder / "hops.json")
print(json.dumps(identities()), flush=True)
time.sleep(600)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(compiled), str(kernel_group), *sys.path], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    try:
        made = [(str(kind), int(number)) for kind, number in json.loads(child.stdout.readline())]
        with inside(kernel_group):
            assert status(server, DENIED) == 403
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert gone(made)
    with inside(kernel_group):
        assert status(server, DENIED) == 200


def test_a_program_that_does_not_compile_shows_the_first_errors(tmp_path: Path, kernel_group: Path) -> None:
    source = tmp_path / "bad.c"
    source.write_text('#include "m4_types.h"\nint f(void) { return nonsense; }\n')
    with pytest.raises(m4bpf.KernelError, match="does not compile") as caught:
        m4bpf.compile_program(source, tmp_path / "bad.o", [])
    assert "error:" in caught.value.detail
    assert list(tmp_path.iterdir()) == [source]


def test_what_the_verifier_refuses_shows_its_last_lines(tmp_path: Path, kernel_group: Path) -> None:
    source, made = tmp_path / "loop.c", tmp_path / "loop.o"
    source.write_text(
        '#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\nSEC("sk_msg") int m4_msg(struct sk_msg_md *m)'
        "{ return *(volatile int *)((char *)m + 5000); }\n"
        'char m4_license[] SEC("license") = "Dual BSD/GPL";\n'
    )
    m4bpf.compile_program(source, made, [])
    with pytest.raises(m4bpf.KernelError, match="the kernel refuses") as caught:
        m4bpf.attach(made, kernel_group, {"hops": []})
    assert "m4_msg" in caught.value.detail
    assert "processed" in caught.value.detail


def test_a_failed_attach_leaves_nothing_in_force(
    server: Server, kernel_group: Path, compiled: Path, tmp_path: Path
) -> None:
    before = identities()
    with pytest.raises(m4bpf.KernelError, match="cgroup"):
        m4bpf.attach(compiled / "m4.bpf.o", tmp_path / "missing", compiled / "hops.json")
    with pytest.raises(m4bpf.KernelError, match="cannot be opened"):
        m4bpf.attach(tmp_path / "missing.o", kernel_group, compiled / "hops.json")
    assert identities() == before


def test_lists_of_hops() -> None:
    hops = {"hops": [{"site": "egress.a", "index": 0, "remote": ["127.0.0.1:80", "[::1]:81"]}]}
    assert read_policies(hops).sites == [("egress.a", 0, ["127.0.0.1:80", "[::1]:81"])]
    assert remote_key("127.0.0.1:80") == bytes(10) + b"\xff\xff\x7f\0\0\1" + (80).to_bytes(4, sys.byteorder)
    assert remote_key("[::1]:81") == bytes(15) + b"\1" + (81).to_bytes(4, sys.byteorder)
    for bad in ("localhost:80", "127.0.0.1", "127.0.0.1:http"):
        with pytest.raises(m4bpf.KernelError, match="not an IP address"):
            remote_key(bad)
    with pytest.raises(m4bpf.KernelError, match="cannot be read"):
        read_policies({"hops": [{"site": "egress.a"}]})
    with pytest.raises(m4bpf.KernelError, match="belongs to"):
        read_policies({"hops": [*hops["hops"], {"site": "egress.b", "index": 1, "remote": ["127.0.0.1:80"]}]})


def test_cgroups_are_made_and_removed_with_their_empty_parents(kernel_group: Path) -> None:
    root = m4bpf.cgroup_root()
    assert root is not None
    name = f"m4-test-{os.getpid()}-x"
    first, second = m4bpf.make_cgroup(f"{name}/shop/a"), m4bpf.make_cgroup(f"{name}/shop/b")
    assert first == root / name / "shop" / "a"
    assert m4bpf.make_cgroup(f"{name}/shop/a") == first
    m4bpf.remove_cgroup(first)
    assert second.is_dir()
    m4bpf.remove_cgroup(second)
    m4bpf.remove_cgroup(second)
    assert not (root / name).exists()
    for bad in ("", "/x", "../x", "a/../../x"):
        with pytest.raises(m4bpf.KernelError):
            m4bpf.make_cgroup(bad)


def test_a_busy_cgroup_is_an_error(kernel_group: Path) -> None:
    path = m4bpf.make_cgroup(f"m4-test-{os.getpid()}/busy")
    sleeper = subprocess.Popen(["sleep", "600"])
    try:
        m4bpf.enter_cgroup(path, sleeper.pid)
        with pytest.raises(m4bpf.KernelError, match="cannot be removed"):
            m4bpf.remove_cgroup(path)
    finally:
        sleeper.kill()
        sleeper.wait()
        m4bpf.remove_cgroup(path)


def test_cgroup_root_is_found_in_the_mount_table(tmp_path: Path) -> None:
    table = tmp_path / "mounts"
    table.write_text("proc /proc proc rw 0 0\ncgroup /a cgroup rw 0 0\ncgroup2 /some\\040where cgroup2 rw 0 0\n")
    assert m4bpf.cgroup_root(table) == Path("/some where")
    table.write_text("proc /proc proc rw 0 0\n")
    assert m4bpf.cgroup_root(table) is None


def test_the_runtime_headers_are_found() -> None:
    assert {path.name for path in m4bpf.include_dir().iterdir()} >= {
        "m4_types.h",
        "m4_text.h",
        "m4_head.h",
        "m4_connect.h",
        "m4_msg.h",
    }


def test_a_python_client_library(server: Server, kernel_group: Path, tmp_path: Path) -> None:
    """http.client sends head and body apart and reads what it is told to."""
    import http.client

    rules = [deny(1, header("x-group", "==", "evil"))]
    with in_force([egress("pay", rules)], {"pay": [server.address]}, tmp_path, kernel_group), inside(kernel_group):
        connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
        results = []
        for group, body in (("evil", b"x" * 9000), ("good", b"y" * 9000), ("evil", None), ("good", None)):
            connection.request("POST" if body else "GET", "/", body=body, headers={"X-Group": group})
            response = connection.getresponse()
            results.append((response.status, response.read()))
        connection.close()
    assert results == [(403, b"refused by the mesh\n"), (200, b"fine\n")] * 2
    assert [len(seen.body) for seen in server.seen] == [9000, 0]


def compiled_rules(folder: Path, server: Server, rules: list[dict[str, Any]]) -> Path:
    """A compiled program that judges by other rules, with its list of hops."""
    folder.mkdir()
    render(element([egress("pay", rules)], {"pay": [server.address]}), folder)
    m4bpf.compile_program(folder / "m4.bpf.c", folder / "m4.bpf.o", [])
    return folder


def test_a_program_is_replaced_for_open_connections(compiled: Path, server: Server, kernel_group: Path) -> None:
    stricter = [deny(1, compare("url_path", "==", "/admin"), 451), deny(2, compare("url_path", "==", "/ok"), 410)]
    other = compiled_rules(compiled / "other", server, stricter)
    with (
        m4bpf.attach(compiled / "m4.bpf.o", kernel_group, compiled / "hops.json") as attached,
        inside(kernel_group),
        Client(server) as kept,
        Client(server) as halfway,
    ):
        replacement = attached.replacement(other / "m4.bpf.o", other / "hops.json")

        def statuses() -> list[int]:
            found = []
            for request in (ALLOWED, DENIED):
                kept.send(request)
                found.append(kept.answer().status)
            return found

        assert statuses() == [200, 403]
        halfway.send(b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        replacement.swap()
        assert statuses() == [410, 451]
        halfway.send(b"cd")  # its head was judged before
        assert halfway.answer().status == 200
        halfway.send(ALLOWED)
        assert halfway.answer().status == 410
        replacement.revert()
        assert statuses() == [200, 403]
        replacement.swap()
        replacement.settle()
        assert statuses() == [410, 451]
        again = attached.replacement(compiled / "m4.bpf.o", compiled / "hops.json")
        again.swap()
        again.settle()
        assert statuses() == [200, 403]
        counted = attached.counters()["egress.pay"]
        assert (counted["seen"], counted["denied"], counted["allowed"]) == (12, 8, 4)


def test_a_hop_that_leaves_and_comes_back(compiled: Path, server: Server, kernel_group: Path, tmp_path: Path) -> None:
    """An open connection of a hop without rules is let through; it is judged again when there are rules again."""
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    render(element([], {"pay": [server.address]}), nothing)
    m4bpf.compile_program(nothing / "m4.bpf.c", nothing / "m4.bpf.o", [])
    with (
        m4bpf.attach(compiled / "m4.bpf.o", kernel_group, compiled / "hops.json") as attached,
        inside(kernel_group),
        Client(server) as kept,
    ):
        for folder, expected in ((compiled, 403), (nothing, 200), (compiled, 403)):
            replacement = attached.replacement(folder / "m4.bpf.o", folder / "hops.json")
            replacement.swap()
            replacement.settle()
            kept.send(DENIED)
            assert kept.answer().status == expected


def test_a_replacement_that_cannot_be(compiled: Path, server: Server, kernel_group: Path, tmp_path: Path) -> None:
    """What is in force stays so, and nothing of the other program is left."""
    source = (compiled / "m4.bpf.c").read_text()
    loop = '\nSEC("sockops") int m4_extra(struct bpf_sock_ops *s) { volatile int i = 0; while (1) i++; return i; }\n'
    (tmp_path / "loop.c").write_text(source + loop)
    m4bpf.compile_program(tmp_path / "loop.c", tmp_path / "loop.o", [])
    two = tmp_path / "two"
    two.mkdir()
    render(element([egress("pay", RULES)], {"pay": [server.address], "ship": ["127.0.0.1:1"]}), two)
    m4bpf.compile_program(two / "m4.bpf.c", two / "m4.bpf.o", [])
    with m4bpf.attach(compiled / "m4.bpf.o", kernel_group, compiled / "hops.json") as attached:
        with pytest.raises(m4bpf.KernelError, match="the kernel refuses"):
            attached.replacement(tmp_path / "loop.o", compiled / "hops.json")
        with pytest.raises(m4bpf.KernelError, match="m4_counts is of another kind"):
            attached.replacement(two / "m4.bpf.o", two / "hops.json")
        with inside(kernel_group):
            assert (status(server, ALLOWED), status(server, DENIED)) == (200, 403)


def test_refused_requests_are_counted_by_policy_and_told(compiled: Path, server: Server, kernel_group: Path) -> None:
    other = compiled_rules(
        compiled / "other",
        server,
        [deny(1, compare("url_path", "==", "/ok"), 410), deny(2, compare("method", "==", "PUT"), 405)],
    )
    with (
        m4bpf.attach(compiled / "m4.bpf.o", kernel_group, compiled / "hops.json") as attached,
        inside(kernel_group),
        Client(server) as client,
    ):
        for request in (DENIED, ALLOWED, DENIED):
            client.send(request)
            client.answer()
        assert attached.refused() == {"egress.pay": {"policy_1": 2}}
        replacement = attached.replacement(other / "m4.bpf.o", other / "hops.json")
        replacement.swap()
        replacement.settle()
        for request in (ALLOWED, b"PUT /ok HTTP/1.1\r\nHost: x\r\n\r\n", b"PUT /x HTTP/1.1\r\nHost: x\r\n\r\n"):
            client.send(request)
            client.answer()
        assert attached.refused() == {"egress.pay": {"policy_1": 3, "policy_2": 2}}
        told = attached.refusals()
        assert [(one.site, one.policy, one.status) for one in told] == [
            ("egress.pay", "policy_1", 403),
            ("egress.pay", "policy_1", 403),
            ("egress.pay", "policy_1", 410),
            ("egress.pay", "policy_2", 405),
            ("egress.pay", "policy_2", 405),
        ]
        assert told[-1].head == b"PUT /x HTTP/1.1\r\nHost: x\r\n\r\n"
        assert [one.at for one in told] == sorted(one.at for one in told)
        assert told[-1].at <= time.monotonic()
