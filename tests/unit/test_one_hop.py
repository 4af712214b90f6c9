"""Very many policies about one hop: only those are looked at together that can hold together, and all of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from m4c.analysis import standing
from m4c.analysis.questions import Questions
from m4c.placement.resolve import Resolver
from m4c.workspace import Workspace

MESH = """mesh shop {{ graph "graph.yaml"; dataplanes envoy; {mesh} }}
"""
GRAPH = "services:\n  client: {entry: true}\n  gateway: {entry: true}\ncalls:\n  - [client, gateway]\n"
MANY = 40


def policy(name: str, when: str, call: str, more: str = "") -> str:
    return f"policy {name} (HttpRequest r) on client -> gateway when {when}{more} {{ r.{call}; }}\n"


def refusals(count: int) -> list[str]:
    return [policy(f"p{i}", f'r.url_path == "/p{i}"', "DropRequest()") for i in range(count)]


def opened(folder: Path, policies: list[str], mesh: str = "") -> Workspace:
    folder.mkdir(exist_ok=True)
    (folder / "graph.yaml").write_text(GRAPH)
    (folder / "mesh.m4").write_text(MESH.format(mesh=mesh))
    (folder / "policies.m4").write_text("".join(policies))
    return Workspace([folder])


def found(workspace: Workspace) -> list[tuple[str, tuple[str, ...]]]:
    return sorted((p.code, p.policies) for p in workspace.problems())


KINDS = {
    "one path each": ('r.url_path == "/p{}"', "DropRequest()"),
    "what is below a path": ('r.target starts_with "/p{}/"', "DropRequest()"),
    "several paths": ('r.url_path in ["/p{0}", "/q{0}"] || r.url_path matches r"/p{0}/[0-9]+"', "DropRequest()"),
    "a status of many": ('r.method == "GET" && r.url_path == "/p{}"', "DropRequest(4{:02})"),
    "another value of one header": ('r.header["X-Key"] == "Key-{}-"', 'SetHeader("x-user", "u{}")'),
    "a header each": ('r.url_path starts_with "/p{}/"', 'SetHeader("x-{}", "yes")'),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_many_cost_grows_as_they_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    asked: Counter[str] = Counter()

    def count(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def counted(*args: object) -> object:
            asked[name] += 1
            return real(*args)

        monkeypatch.setattr(owner, name, counted)

    count(Questions, "ask_pair")
    count(standing, "_asks")
    count(Resolver, "_folded")
    when, call = KINDS[kind]
    statuses = "{:02}" in call
    policies = [policy(f"p{i}", when.format(i), call.format(i % 40 if statuses else i)) for i in range(300)]
    assert found(opened(tmp_path, policies)) == []
    assert asked["_folded"] + asked["ask_pair"] + asked["_asks"] <= 10 * 300, asked  # two by two they are 44,850


def test_one_that_meets_a_few_of_many_is_found_beside_these(tmp_path: Path) -> None:
    policies = refusals(MANY)
    policies.insert(7, policy("opens", 'r.url_path starts_with "/p1"', "AllowRequest()"))
    meets = [1, *range(10, 20)]
    assert found(opened(tmp_path, policies)) == sorted(
        ("contradiction", (f"p{i}", "opens") if i < 7 else ("opens", f"p{i}")) for i in meets
    )


def test_an_edit_of_one_of_many_is_answered_as_from_nothing(tmp_path: Path) -> None:
    policies = refusals(MANY)
    workspace = opened(tmp_path / "kept", policies)
    assert found(workspace) == []
    file = (tmp_path / "kept/policies.m4").as_posix()
    changes = {
        30: policy("p30", 'r.url_path == "/p21"', "DropRequest()"),
        31: policy("p31", 'r.target starts_with "/p5"', "DropRequest(429)"),
        32: policy("p32", 'r.method == "GET"', "AllowRequest()"),
        33: policy("p33", 'r.url_path == "/none" && r.url_path == "/other"', "DropRequest()"),
    }
    seen = set()
    for at, changed in changes.items():
        edited = [*policies[:at], changed, *policies[at + 1 :]]
        workspace.set_text(file, "".join(edited))
        fresh = found(opened(tmp_path / f"fresh{at}", edited))
        assert found(workspace) == fresh
        seen |= {code for code, _ in fresh}
        workspace.set_text(file, "".join(policies))
        assert found(workspace) == []
    assert seen == {"contradiction", "dead-condition", "merged", "redundant"}


def test_one_that_sees_what_another_writes_is_beside_all_of_them(tmp_path: Path) -> None:
    """`follows` reads a path of its own, but of what `rewrites` left: it fires on every request to /p7."""
    policies = [policy(f"p{i}", f'r.header["x-path"] == "/p{i}"', 'SetHeader("x-user", "one")') for i in range(MANY)]
    policies.append(policy("rewrites", 'r.header["x-path"] == "/p7"', 'SetHeader("x-path", "/seen")'))

    def follows(value: str) -> str:
        return policy("follows", 'r.header["x-path"] == "/seen"', f'SetHeader("x-user", "{value}")', " after rewrites")

    assert ("redundant", ("p7",)) not in found(opened(tmp_path / "without", policies))
    assert ("redundant", ("p7",)) in found(opened(tmp_path / "same", [*policies, follows("one")]))
    assert ("contradiction", ("p7", "follows")) in found(opened(tmp_path / "other", [*policies, follows("two")]))


def test_a_conflict_goes_with_the_policy_that_one_of_the_two_was_after(tmp_path: Path) -> None:
    rewrites = policy("rewrites", 'r.header["x-path"] == "/p7"', 'SetHeader("x-path", "/seen")')
    policies = [policy(f"p{i}", f'r.header["x-path"] == "/p{i}"', f'SetHeader("x-user", "{i}")') for i in range(MANY)]
    policies.append(policy("follows", 'r.header["x-path"] == "/seen"', 'SetHeader("x-user", "f")', " after rewrites"))
    workspace = opened(tmp_path, [rewrites, *policies])
    met = ("contradiction", ("p7", "follows"))
    assert met in found(workspace)
    file = (tmp_path / "policies.m4").as_posix()
    broken = rewrites.replace('== "/p7"', 'matches r"("')
    workspace.set_text(file, "".join([broken, *policies]))
    assert met not in found(workspace)
    workspace.set_text(file, "".join([rewrites, *policies]))
    assert met in found(workspace)


def test_many_that_say_what_the_default_says_are_each_reported(tmp_path: Path) -> None:
    denied = "default HttpRequest.verdict = deny on * -> gateway;"
    assert found(opened(tmp_path, refusals(MANY), denied)) == sorted(("redundant", (f"p{i}",)) for i in range(MANY))
