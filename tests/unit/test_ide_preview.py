"""Previews: the artifacts of a policy, and the way back from each part to the line that it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
from cursors import Desk
from m4c.ide.preview import Artifact, NoPreview, preview
from m4c.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
GATE = (
    "spec gate {\n"
    "    tier proxy; cost 1;\n"
    '    supports HttpRequest { operation SetHeader emits "set.j2"; operation SetTimeout emits "wait.j2"; }\n'
    '    artifact "gate.conf" from "gate.j2" per service;\n'
    "}\n"
)
FILES = {
    "graph.yaml": "services: {web: {entry: true}, cart: {}, db: {}}\ncalls: [[web, cart], [cart, db]]\n",
    "gate.m4": GATE,
    "gate.j2": (
        "begin\n"
        "{% for site in sites %}{% for rule in site.rules %}\n"
        "rule\n{% include rule.emits %}\n\n"
        "{% endfor %}{% endfor %}\n"
        "end\n"
    ),
    "set.j2": "set {{ rule.args.name }} {{ rule.args.value }}",
    "wait.j2": "wait {{ rule.args.limit }}",
    "mesh.m4": 'mesh shop { graph "graph.yaml"; dataplanes gate; }\nimport "gate.m4";\n',
}
POLICIES = (
    "policy named (HttpRequest r) on web -> cart {\n"
    '    r.SetHeader("x-é", "1");\n'
    '    r.SetHeader("x-b", "2");\n'
    "}\n"
    "policy slow (HttpRequest r) on * -> cart { r.SetTimeout(1s); }\n"
    "policy nowhere (HttpRequest r) on db -> web { r.SetTimeout(1s); }\n"
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, FILES)


def parts(desk: Desk, artifacts: tuple[Artifact, ...]) -> dict[str, list[str]]:
    """Each part with its lines, by artifact."""
    return {
        a.file.path: [
            f"{desk.shown(p.source)} ← {' '.join(a.file.text.splitlines()[p.start : p.end])}".strip() for p in a.parts
        ]
        for a in artifacts
    }


def test_each_part_leads_back_to_its_line(desk: Desk) -> None:
    desk.put(POLICIES.replace("x-é", "x-a") + "$0")
    found = preview(desk.workspace, "shop", "named")
    assert parts(desk, found) == {
        "gate/web/gate.conf": [
            'here.m4:2: r.SetHeader("x-a", "1") ← rule set x-a 1',
            'here.m4:3: r.SetHeader("x-b", "2") ← rule set x-b 2',
            "here.m4:5: r.SetTimeout(1s) ← rule wait 1000000000",
        ]
    }


def test_every_policy_of_the_example_finds_itself_in_its_artifacts() -> None:
    from m4c import project

    workspace = Workspace([ROOT / "examples/online-boutique"])
    program = project.program(workspace.db, "boutique")
    assert program is not None and len(program.policies) > 5
    without = []
    for policy in program.policies:
        mine = [p for a in preview(workspace, "boutique", policy.name) for p in a.parts if p.policy == policy.name]
        places = {workspace.span(c.place) for c in policy.calls}
        if not mine:
            without.append(policy.name)
            continue
        assert {p.source for p in mine} == places, policy.name
        assert all(p.start < p.end for p in mine)
    assert without == ["beta_only"], "what it allows is a condition of the default's rule"


@pytest.mark.parametrize(
    ("policy", "message"),
    [("nobody", "has no policy `nobody`"), ("nowhere", "`nowhere` needs nothing anywhere")],
)
def test_what_has_no_preview_says_why(desk: Desk, policy: str, message: str) -> None:
    desk.put(POLICIES.replace("x-é", "x-a") + "$0")
    with pytest.raises(NoPreview) as caught:
        preview(desk.workspace, "shop", policy)
    assert message in str(caught.value)


def test_a_template_that_fails_is_named_and_looked_at_again_when_it_is_mended(desk: Desk) -> None:
    desk.put(POLICIES.replace("x-é", "x-a") + "$0")
    template = desk.folder / "set.j2"
    template.write_text("{{ nothing.here }}")
    with pytest.raises(NoPreview, match="a template of `gate` fails for `web`"):
        preview(desk.workspace, "shop", "named")
    template.write_text("SET {{ rule.args.name }}")
    assert "SET x-a" in preview(desk.workspace, "shop", "named")[0].file.text


def test_without_a_plan(tmp_path: Path) -> None:
    alone = Desk(tmp_path, {"mesh.m4": 'mesh shop { graph "nowhere.yaml"; dataplanes envoy; }\n'})
    with pytest.raises(NoPreview, match="there is no plan"):
        preview(alone.workspace, "shop", "x")
