"""States in the kernel: counters count what the interpreter says, and buckets give no token more than they hold."""

from __future__ import annotations

import asyncio
import json
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import m4bpf
import pytest
from kernelkit import Client, Server, inside, kernel_group, server
from m4bpf import libbpf
from m4bpf.hops import state_number
from m4c import project
from m4c.paths.callpath import CallPath
from m4c.reference import run_hop
from m4c.semantics.model import AttrKey
from m4c.workspace import Workspace

__all__ = ["kernel_group", "server"]

GRAPH = "services:\n  front: {}\n  pay: {origin: false}\ncalls: [[front, pay]]\n"
PATH = CallPath(False, ("front", "pay"), (None, None))


@contextmanager
def in_force(policies: str, server: Server, cgroup: Path, folder: Path) -> Iterator[m4bpf.Attached]:
    """Built by `m4`, for connections of `cgroup` to the server."""
    with m4bpf.attach(compiled(policies, folder), cgroup, hops(folder, server)) as attached:
        yield attached


def compiled(policies: str, folder: Path) -> Path:
    program = folder / "program"
    program.mkdir(parents=True)
    (program / "shop.graph.yaml").write_text(GRAPH)
    (program / "shop.m4").write_text('mesh shop { graph "shop.graph.yaml"; dataplanes ebpf; }\n' + policies)
    m4 = Path(sys.executable).with_name("m4")
    done = subprocess.run([m4, "build", program, "-o", folder / "out"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    m4bpf.compile_program(folder / "out/ebpf/front/m4.bpf.c", folder / "m4.bpf.o")
    return folder / "m4.bpf.o"


def hops(folder: Path, server: Server) -> dict[str, object]:
    told: dict[str, object] = json.loads((folder / "out/ebpf/front/hops.json").read_text())
    (hop,) = told["hops"]  # type: ignore[misc]
    assert hop["site"] == "egress.pay"
    return told | {"hops": [hop | {"remote": [server.address]}]}


def statuses(server: Server, cgroup: Path, requests: Sequence[bytes]) -> list[int]:
    with inside(cgroup), Client(server) as client:
        found = []
        for one in requests:
            client.send(one)
            found.append(client.answer().status)
        return found


def get(target: str, method: str = "GET", group: str = "") -> bytes:
    field = f"x-group: {group}\r\n" if group else ""
    return f"{method} {target} HTTP/1.1\r\nhost: pay\r\n{field}\r\n".encode()


COUNTING = """
state Counter all;
state Counter refused;
state Counter weighed;
policy counted (HttpRequest r) on front -> pay { all.Increment(); }
policy closed (HttpRequest r) on front -> pay when r.url_path starts_with "/admin" {
    r.DropRequest();
    refused.Increment();
}
policy weighed_posts (HttpRequest r) on * -> pay when r.method == "POST" {
    weighed.Increment(by: 3);
    weighed.Increment(by: 3);
}
policy weighed_others (HttpRequest r) on ? -> pay {
    if (r.header["x-group"] == "beta") { weighed.Increment(); } else { weighed.Increment(by: 10); }
}
policy unweighed (HttpRequest r) on * -> pay when r.url_path == "/free" overrides weighed_others {
    weighed.Increment(by: 100);
}
"""


def test_counters_count_what_the_interpreter_says(server: Server, kernel_group: Path, tmp_path: Path) -> None:
    chosen = random.Random(3)
    tried = [
        (chosen.choice(["/", "/admin", "/free"]), chosen.choice(["GET", "POST"]), chosen.choice(["", "beta", "b"]))
        for _ in range(60)
    ]
    with in_force(COUNTING, server, kernel_group, tmp_path) as attached:
        found = statuses(server, kernel_group, [get(*one) for one in tried])
        counted = attached.tallies(["all", "refused", "weighed", "unknown"])
    program = project.program(Workspace([tmp_path / "program"]).db, "shop")
    assert program is not None
    expected = dict.fromkeys(counted, 0)
    for (target, method, group), status in zip(tried, found, strict=True):
        request = {AttrKey("HttpRequest", "method"): method, AttrKey("HttpRequest", "target"): target}
        if group:
            request[AttrKey("HttpRequest", "header", "x-group")] = group
        result = run_hop(program, PATH, request)
        assert status == (403 if result.terminal else 200)
        for attr, value in result.writes.items():
            if attr.attribute == "tally":
                expected[str(attr).removesuffix(".tally")] += value
    assert counted == expected
    assert expected["all"] == 60
    assert expected["unknown"] == 0 < expected["refused"] < expected["weighed"]


LIMIT = """
state TokenBucket limiter(rate: 1/h, burst: 5);
state Counter excess;
policy limited (HttpRequest r) on front -> pay when r.url_path starts_with "/pay" && !limiter.Take() {
    r.DropRequest(429);
    excess.Increment();
}
"""


def test_a_bucket_gives_what_it_holds_and_only_to_whoever_asks(
    server: Server, kernel_group: Path, tmp_path: Path
) -> None:
    with in_force(LIMIT, server, kernel_group, tmp_path) as one:
        found = statuses(server, kernel_group, [get(t) for t in ["/pay", "/free"] * 9])
        assert found[::2] == [200] * 5 + [429] * 4
        assert found[1::2] == [200] * 9, "who is not limited takes no token"
        assert one.tallies(["excess"]) == {"excess": 4}


async def test_no_token_is_given_twice(server: Server, kernel_group: Path, tmp_path: Path) -> None:
    """Many connections at once, on all processors."""

    async def talk() -> list[int]:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        found = []
        for _ in range(10):
            writer.write(get("/pay"))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            await reader.readexactly(20 if b" 429 " in head else 5)
            found.append(int(head.split()[1]))
        writer.close()
        return found

    policies = LIMIT.replace("burst: 5", "burst: 123")
    with in_force(policies, server, kernel_group, tmp_path) as attached, inside(kernel_group):
        found = [status for one in await asyncio.gather(*(talk() for _ in range(40))) for status in one]
        assert attached.tallies(["excess"]) == {"excess": 400 - 123}
    assert found.count(200) == 123
    assert found.count(429) == 400 - 123


def test_a_bucket_fills_again(server: Server, kernel_group: Path, tmp_path: Path) -> None:
    policies = LIMIT.replace("1/h", "20/s")
    with in_force(policies, server, kernel_group, tmp_path), inside(kernel_group), Client(server) as client:
        passed, end = 0, time.monotonic() + 60
        while passed <= 12 and time.monotonic() < end:
            client.send(get("/pay"))
            passed += client.answer().status == 200
    assert passed > 12, "five that it held, and those that came since"


def test_two_questions_are_two_tokens(server: Server, kernel_group: Path, tmp_path: Path) -> None:
    policies = """
    state TokenBucket limiter(rate: 1/h, burst: 6);
    policy one (HttpRequest r) on front -> pay when !limiter.Take() { r.DropRequest(429); }
    policy two (HttpRequest r) on front -> pay when !limiter.Take() { r.DropRequest(430); }
    """
    with in_force(policies, server, kernel_group, tmp_path):
        assert statuses(server, kernel_group, [get("/")] * 5) == [200] * 3 + [429] * 2


def test_both_branches_go_by_one_answer(server: Server, kernel_group: Path, tmp_path: Path) -> None:
    policies = """
    state TokenBucket limiter(rate: 1/h, burst: 4);
    state Counter within;
    state Counter beyond;
    policy lanes (HttpRequest r) on front -> pay {
        if (r.method == "POST" && limiter.Take()) { within.Increment(); } else { beyond.Increment(); }
    }
    """
    with in_force(policies, server, kernel_group, tmp_path) as attached:
        statuses(server, kernel_group, [get("/", "GET"), get("/", "POST")] * 6)
        assert attached.tallies(["within", "beyond"]) == {"within": 4, "beyond": 8}


def test_the_next_program_goes_on_with_what_was_kept(server: Server, kernel_group: Path, tmp_path: Path) -> None:
    other = compiled(LIMIT.replace("429", "430"), tmp_path / "other")
    with in_force(LIMIT, server, kernel_group, tmp_path / "first") as attached:
        assert statuses(server, kernel_group, [get("/pay")] * 6) == [200] * 5 + [429]
        replacement = attached.replacement(other, hops(tmp_path / "other", server))
        replacement.swap()
        replacement.settle()
        assert statuses(server, kernel_group, [get("/pay")]) == [430]
        assert attached.tallies(["excess"]) == {"excess": 2}


@pytest.mark.parametrize(
    ("policies", "why"),
    [
        ("state TokenBucket t(rate: 0/s, burst: 1);", "rate of 0"),
        ("state TokenBucket t(rate: 1/h, burst: 9000000);", "146 years"),
    ],
)
def test_buckets_that_the_kernel_cannot_keep(tmp_path: Path, policies: str, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        compiled(policies + "policy p (HttpRequest r) on front -> pay when t.Take() { r.DropRequest(); }", tmp_path)


def test_keys_are_those_of_the_program() -> None:
    assert state_number("") == 0xCBF29CE484222325
    assert state_number("foobar") == 0x85944171F73967E8  # of the algorithm's own test vectors


EACH = """
state TokenBucket limiter(rate: 1/h, burst: 2) per r.header["x-user"];
policy limited (HttpRequest r) on front -> pay when !limiter.Take() { r.DropRequest(429); }
"""


def by(*users: str) -> bytes:
    return f"GET / HTTP/1.1\r\nhost: pay\r\n{''.join(f'x-user: {u}{chr(13)}{chr(10)}' for u in users)}\r\n".encode()


def test_each_value_has_a_bucket_of_its_own(server: Server, kernel_group: Path, tmp_path: Path) -> None:
    """Values of every length around the words that are hashed, that differ in one byte; none, empty, joined."""
    long = ["u" * size + end for size in (0, 1, 6, 7, 8, 9, 15, 16, 17, 1023, 3000) for end in "ab"]
    who = [by(), by(""), by("a", "b"), by("a,c"), *map(by, long)]
    with in_force(EACH, server, kernel_group, tmp_path):
        for expected in (200, 200, 429):
            assert statuses(server, kernel_group, who) == [expected] * len(who)
        assert statuses(server, kernel_group, [by("a,b"), by("A")]) == [429, 200], (
            "joined as it is read, and case counts"
        )


def test_the_part_that_a_bucket_is_kept_for_may_be_any(server: Server, kernel_group: Path, tmp_path: Path) -> None:
    policies = EACH.replace('r.header["x-user"]', "r.url_path")
    with in_force(policies, server, kernel_group, tmp_path):
        found = statuses(server, kernel_group, [get(t) for t in ("/a?1", "/a?2", "/a?3", "/b", "/b", "/b")])
    assert found == [200, 200, 429] * 2


def test_an_edit_leaves_each_bucket_as_it_is(server: Server, kernel_group: Path, tmp_path: Path) -> None:
    other = compiled(EACH.replace("429", "430"), tmp_path / "other")
    with in_force(EACH, server, kernel_group, tmp_path / "first") as attached:
        assert statuses(server, kernel_group, [by("ann")] * 3) == [200, 200, 429]
        replacement = attached.replacement(other, hops(tmp_path / "other", server))
        replacement.swap()
        replacement.settle()
        assert statuses(server, kernel_group, [by("ann"), by("bob")]) == [430, 200]


def test_where_there_is_no_room_full_buckets_go_and_no_other(
    server: Server, kernel_group: Path, tmp_path: Path
) -> None:
    room = 65536
    never, long_ago = struct.pack("=Q", 2**62), struct.pack("=Q", 1)
    with in_force(EACH, server, kernel_group, tmp_path) as attached:
        assert statuses(server, kernel_group, [by("ann")] * 2) == [200, 200]
        buckets = attached.descriptor("m4_buckets")
        for i in range(room - 1):
            libbpf.map_write(buckets, struct.pack("=QQQ", 1, 2, 2 * i), never if i else long_ago)
        assert statuses(server, kernel_group, [by("bob")] * 3) == [200, 200, 429], "in place of the one that is full"
        assert statuses(server, kernel_group, [by("ann"), by("cid")]) == [429, 429], "nothing is full: no token"
        libbpf.map_write(buckets, struct.pack("=QQQ", 1, 2, 2), long_ago)
        end = time.monotonic() + 60
        while statuses(server, kernel_group, [by("cid")]) == [429] and time.monotonic() < end:
            time.sleep(0.05)  # it does not search each time
        assert statuses(server, kernel_group, [by("cid")] * 2) == [200, 429]
