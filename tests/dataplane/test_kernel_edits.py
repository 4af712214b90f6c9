"""Policies of a program in force that are edited: they are data, and each request is judged by one whole set of them,
as the conditions say. What is no data takes the compiler's way."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import m4bpf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernelkit import (
    SPEC,
    TRUE,
    Client,
    Server,
    compare,
    deny,
    edit,
    egress,
    element,
    header,
    inside,
    kernel_group,
    meanwhile,
    render,
    server,
    wait_until,
)
from m4bpf.hops import read_policies
from m4bpf.layout import RULES, lay_out
from m4c.cli import jobs
from m4c.workspace import Workspace
from test_kernel_rules import SMALL_REQUESTS, TREES, encode, holds

__all__ = ["kernel_group", "server"]

GET = b"GET / HTTP/1.1\r\nHost: pay\r\n\r\n"


@pytest.fixture(scope="module")
def attached(server: Server, kernel_group: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[m4bpf.Attached]:
    folder = tmp_path_factory.mktemp("program")
    hops = rendered(folder, server, [])
    m4bpf.compile_program(folder / "m4.bpf.c", folder / "m4.bpf.o")
    with m4bpf.attach(folder / "m4.bpf.o", kernel_group, hops) as attached:
        yield attached


def rendered(folder: Path, server: Server, rules: list[dict[str, Any]], spec: Path = SPEC) -> Path:
    render(element([egress("pay", rules)], {"pay": [server.address]}), folder, spec)
    return folder / "hops.json"


def counting(number: int, name: str) -> dict[str, Any]:
    """A rule that adds one to a counter."""
    return deny(number, TRUE) | {
        "operation": "Increment",
        "emits": "count.c.j2",
        "state": {"name": name},
        "writes": [{"attribute": "tally", "key": None, "value": 1}],
    }


def test_each_request_is_judged_by_one_whole_set(
    attached: m4bpf.Attached, server: Server, kernel_group: Path, tmp_path: Path
) -> None:
    """Each set refuses with a status of its own, and counts twenty times in front of that and twenty behind it: were a
    request judged by half a set, or twice, or not at all, the numbers would not be those of the answers."""
    editions = [
        rendered(
            tmp_path / f"{n}",
            server,
            [
                *(counting(i, f"edition {n}") for i in range(20)),
                deny(20, TRUE, 410 + n),
                *(counting(i, f"edition {n}") for i in range(21, 41)),
            ],
        )
        for n in range(5)
    ]
    answers: Counter[int] = Counter()
    failures: list[str] = []

    def ask(client: Client) -> bool:
        try:
            client.send(GET)
            answers[client.answer().status] += 1
        except (OSError, EOFError) as error:
            failures.append(repr(error))
        return not failures

    def wait_for_answers(more: int) -> None:
        goal = sum(answers.values()) + more
        wait_until(lambda: sum(answers.values()) >= goal or bool(failures))

    edit(attached, editions[0])
    before = sum(counts["seen"] for counts in attached.counters().values())
    with inside(kernel_group), ExitStack() as open_clients:
        clients = [open_clients.enter_context(Client(server)) for _ in range(4)]
        with meanwhile(partial(ask, client) for client in clients):
            for number in range(1, 40):
                edit(attached, editions[number % 5])
                wait_for_answers(40)
    assert failures == []
    assert set(answers) == {410, 411, 412, 413, 414}
    tallies = attached.tallies([f"edition {n}" for n in range(5)])
    assert tallies == {f"edition {n}": 40 * answers[410 + n] for n in range(5)}
    assert sum(counts["seen"] for counts in attached.counters().values()) - before == sum(answers.values())


@settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(whens=st.lists(TREES, min_size=8, max_size=8), requests=st.lists(SMALL_REQUESTS, min_size=6, max_size=6))
def test_after_each_edit_verdicts_are_those_of_the_conditions(
    attached: m4bpf.Attached,
    server: Server,
    kernel_group: Path,
    tmp_path_factory: pytest.TempPathFactory,
    whens: list[dict[str, Any]],
    requests: list[dict[str, Any]],
) -> None:
    edit(
        attached, rendered(tmp_path_factory.mktemp("edit"), server, [deny(i, w, 410 + i) for i, w in enumerate(whens)])
    )
    found, expected = [], []
    with inside(kernel_group), Client(server) as client:
        for one in requests:
            client.send(encode(one))
            found.append(client.answer().status)
            expected.append(next((410 + i for i, when in enumerate(whens) if holds(when, one)), 200))
    assert found == expected


GRAPH = """\
services:
  web: {entry: true, origin: false}
  front: {}
  jobs: {}
  pay: {origin: false}
calls: [[web, front], [jobs, front], [front, pay]]
"""
POLICIES = """\
policy closed (HttpRequest r) on front -> pay when r.url_path starts_with "/admin" { r.DropRequest(403); }
policy beta_only (HttpRequest r) on front -> pay when r.header["x-group"] != "beta" && r.method == "PUT" {
    r.DropRequest(404);
}
"""
EDITS = {
    "another text": POLICIES.replace('"/admin"', '"/administration/of/everything"'),
    "another header": POLICIES.replace('"x-group"', '"x-user-group"'),
    "another comparison": POLICIES.replace("starts_with", "contains"),
    "another status": POLICIES.replace("403", "451"),
    "a rule less": POLICIES.splitlines()[0] + "\n",
    "a rule more": POLICIES
    + 'policy odd (HttpRequest r) on ? -> pay when r.target in ["/a", "/b"] { r.DropRequest(); }\n',
    "no rule at all": "",
    "another path": POLICIES.replace("on front -> pay when r.url", "on jobs -> front -> pay when r.url"),
    "a path that needs tags elsewhere": POLICIES.replace("on front -> pay when r.h", "on web -> * -> pay when r.h"),
    "a counter": POLICIES + "state Counter all;\npolicy count_all (HttpRequest r) on * -> pay { all.Increment(); }\n",
    "a token bucket": POLICIES
    + "state TokenBucket limit(rate: 5/s, burst: 9);\n"
    + "policy limited (HttpRequest r) on front -> pay when !limit.Take() { r.DropRequest(429); }\n",
}


def built(folder: Path, policies: str) -> dict[str, str]:
    """The sources of the programs of a mesh, by service."""
    folder.mkdir()
    (folder / "graph.yaml").write_text(GRAPH)
    (folder / "shop.m4").write_text('mesh shop { graph "graph.yaml"; dataplanes ebpf; }\n' + policies)
    made = jobs.rendered(Workspace([folder]), "shop")
    return {file.service: file.text for file in made.files if file.path.endswith("m4.bpf.c")}


@pytest.mark.parametrize("what", EDITS)
def test_edits_change_no_program(tmp_path: Path, what: str) -> None:
    """So the compiler is not asked. Also the services of a mesh have the same one, so that it is asked once."""
    before, after = built(tmp_path / "before", POLICIES), built(tmp_path / "after", EDITS[what])
    assert before["front"].count("m4_deny") == 1
    assert set(before.values()) >= set(after.values())
    assert len(set(before.values())) == 1


@contextmanager
def with_operation(folder: Path, template: str) -> Iterator[Path]:
    """The spec with an operation more."""
    spec = folder / "spec"
    shutil.copytree(SPEC, spec)
    (spec / "own.c.j2").write_text(template)
    yield spec


def test_an_operation_of_ones_own_takes_the_compiler_and_may_be_data(
    attached: m4bpf.Attached, server: Server, kernel_group: Path, tmp_path: Path
) -> None:
    def own(status: int) -> dict[str, Any]:
        return deny(1, TRUE, status) | {"emits": "own.c.j2", "operation": "Own"}

    def statuses(count: int = 1) -> list[int]:
        with inside(kernel_group), Client(server) as client:
            found = []
            for _ in range(count):
                client.send(GET)
                found.append(client.answer().status)
            return found

    edit(attached, rendered(tmp_path / "none", server, []))
    inlined = "{% macro effect(rule) %}m4_deny(w, {{ rule.args.status }} + 1);{% endmacro %}"
    for status in (451, 452):
        with with_operation(tmp_path / f"{status}", inlined) as spec:
            hops = rendered(tmp_path / f"own-{status}", server, [own(status)], spec)
        source = hops.with_name("m4.bpf.c")
        assert f"m4_deny(w, {status} + 1);" in source.read_text()
        m4bpf.compile_program(source, source.with_suffix(".o"))
        change = attached.replacement(source.with_suffix(".o"), hops)
        change.swap()
        assert statuses() == [status + 1]
        change.revert()
        assert statuses() != [status + 1]
        change.swap()
        change.settle()
        assert statuses() == [status + 1]
    as_data = """
    {% set code = "m4_deny(w, M4_ARG(0) + 2);" %}
    {% macro values(rule, found) %}[{{ rule.args.status }}]{% endmacro %}
    """
    with with_operation(tmp_path / "data", as_data) as spec:
        first = rendered(tmp_path / "data-1", server, [own(431)], spec)
        second = rendered(tmp_path / "data-2", server, [own(441)], spec)
    assert first.with_name("m4.bpf.c").read_text() == second.with_name("m4.bpf.c").read_text()
    m4bpf.compile_program(first.with_name("m4.bpf.c"), tmp_path / "data.o")
    change = attached.replacement(tmp_path / "data.o", first)
    change.swap()
    change.settle()
    assert statuses() == [433]
    edit(attached, second)
    assert statuses() == [443]


def test_what_has_no_room_changes_nothing(
    attached: m4bpf.Attached, server: Server, kernel_group: Path, tmp_path: Path
) -> None:
    edit(attached, rendered(tmp_path / "some", server, [deny(1, TRUE, 418)]))
    many = {
        "8191 steps": [deny(1, {"kind": "any", "of": [compare("target", "==", f"/{i}") for i in range(9000)]})],
        "131072 bytes": [
            deny(1, {"kind": "any", "of": [compare("target", "==", f"/{i:04}" + "x" * 1000) for i in range(100)]})
        ],
        "61 headers": [deny(1, {"kind": "any", "of": [header(f"x-{i}", "exists") for i in range(62)]})],
        f"{RULES} rules": [deny(i, TRUE) for i in range(RULES + 1)],
    }
    for number, (why, rules) in enumerate(many.items()):
        hops = rendered(tmp_path / f"{number}", server, rules)
        with pytest.raises(m4bpf.KernelError, match=why):
            m4bpf.check(hops)
        with pytest.raises(m4bpf.KernelError, match=why):
            attached.edition(hops)
    with inside(kernel_group), Client(server) as client:
        client.send(GET)
        assert client.answer().status == 418
    edit(attached, rendered(tmp_path / "others", server, [deny(1, TRUE, 419)]))


def test_counts_of_policies_that_lose_their_number_are_kept(
    attached: m4bpf.Attached, server: Server, kernel_group: Path, tmp_path: Path
) -> None:
    for edition, kept in enumerate((1, RULES, RULES, 10)):
        rules = [deny(10_000 * (edition + 1) + i, TRUE) for i in range(kept)]
        edit(attached, rendered(tmp_path / f"{edition}", server, rules))
        with inside(kernel_group), Client(server) as client:
            client.send(GET)
            assert client.answer().status == 403
    refused = attached.refused()["egress.pay"]
    assert [refused[f"policy_{10_000 * n}"] for n in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert attached.refusals()[-1].policy == "policy_40000"


def test_one_change_at_a_time(attached: m4bpf.Attached, server: Server, tmp_path: Path) -> None:
    hops = rendered(tmp_path, server, [])
    change = attached.edition(hops)
    with pytest.raises(m4bpf.KernelError, match="being changed already"):
        attached.edition(hops)
    change.settle()
    edit(attached, hops)


def test_the_layout_is_that_of_the_program(attached: m4bpf.Attached, server: Server, tmp_path: Path) -> None:
    """The kernel's map has the size that is written."""
    done = subprocess.run(["bpftool", "map", "show", "name", "m4_sets"], capture_output=True, text=True, check=True)
    made = lay_out(read_policies(rendered(tmp_path, server, [])), lambda counted: 0)
    assert f"value {len(made)}B" in done.stdout
