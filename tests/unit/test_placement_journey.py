"""Where the context tag goes, and the marks with it: in the plan's text and data, in hover and hints."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest
from cli_kit import ROOT, hold, m4
from m4c import project
from m4c.ide.hover import hover
from m4c.ide.inlay import hints
from m4c.ide.survey import survey
from m4c.placement.journey import Journey, journeys
from m4c.placement.plan import plan
from m4c.placement.whatif import where_policies_match
from m4c.workspace import Workspace
from relayed import CHAIN, loaded

LABEL = 'policy label (HttpRequest r) on outside -> door when r.header["x-group"] == "beta" { r.Mark("beta"); }\n'
ASK = 'policy ask (HttpRequest r) on * -> vault when !r.mark["beta"] { r.DropRequest(); }\n'
ISOLATE = "policy isolate (HttpRequest r) on batch -> * -> vault { r.DropRequest(); }\n"


@pytest.fixture
def load(tmp_path: Path):
    return partial(loaded, tmp_path)


def of(program) -> dict[str, Journey]:
    return {str(j.mark or "tag"): j for j in journeys(program, plan(program))}


def at(touches) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(f"{t.at.hop[0] or 'outside'} -> {t.at.hop[1]}", t.at.dataplane, t.policies) for t in touches]


def test_no_tag_goes_nowhere(load):
    assert of(load("policy p (HttpRequest r) on * -> vault { r.DropRequest(); }")) == {}


def test_a_mark_goes_from_who_writes_it_to_who_asks_for_it(load):
    found = of(load(LABEL + ASK))
    mark, tag = found['mark["beta"]'], found["tag"]
    assert mark.tags == (1,)
    assert at(mark.writes) == [("outside -> door", "envoy", ("label",))]
    assert mark.along == tag.along == (("door", "relay"), ("relay", "vault"))
    assert at(mark.reads) == [("relay -> vault", "ebpf", ("ask",))]
    assert at(tag.strips) == [("outside -> door", "envoy", ())], "nobody marks himself"


def test_a_tag_that_only_tells_paths_apart_goes_between_writer_and_reader(load):
    found = of(load(ISOLATE))
    assert set(found) == {"tag"}
    tag = found["tag"]
    assert [hop for hop, _, _ in at(tag.writes)] == ["door -> relay"], "chains that begin at `batch` carry none"
    assert at(tag.reads) == [("relay -> vault", "ebpf", ("isolate",))]
    assert tag.along == (("door", "relay"), ("relay", "vault"))


def test_a_policy_that_gives_way_to_one_that_asks_reads_the_mark(load):
    keep = ASK.replace("{ r.Drop", "overrides grow { r.Drop").replace("DropRequest()", 'SetHeader("x-a", "1")')
    grow = 'policy grow (HttpRequest r) on * -> vault { r.SetHeader("x-a", "2"); }\n'
    mark = of(load(LABEL + keep + grow))['mark["beta"]']
    assert {policy for _, _, policies in at(mark.reads) for policy in policies} == {"ask", "grow"}


def test_who_reads_where_no_mark_comes_does_not_count(load):
    """Behind `side` nobody ever asks for what the door has written."""
    graph = CHAIN.replace("vault: {origin: false}\n", "vault: {origin: false}\n  side: {origin: false}\n").replace(
        "[relay, vault]]", "[relay, vault], [relay, side]]"
    )
    mark = of(load(LABEL + ASK, graph))['mark["beta"]']
    assert ("relay", "side") not in mark.along
    assert mark.along == (("door", "relay"), ("relay", "vault"))


def test_the_plan_says_it_in_text_and_data(load, tmp_path: Path):
    load(LABEL + ASK)
    text = m4("plan", tmp_path).out
    assert text.endswith(
        "are told apart by a context tag of 1 bit\n"
        "    written at ingress of outside -> door by envoy\n"
        "    travels on door -> relay, relay -> vault\n"
        "    read at egress of relay -> vault by ebpf for ask\n"
        "    stripped at ingress of outside -> door by envoy\n"
        '    mark["beta"]\n'
        "        tag 1 of 1 bit\n"
        "        written at ingress of outside -> door by envoy for label\n"
        "        travels on door -> relay, relay -> vault\n"
        "        read at egress of relay -> vault by ebpf for ask\n"
    )
    context = hold(m4("plan", tmp_path, "--format", "json").json, "plan")["context"]
    assert context["travels"] == [["door", "relay"], ["relay", "vault"]]
    assert [s["hop"] for s in context["strips"]] == [["outside", "door"]]
    (mark,) = context["marks"]
    assert (mark["mark"], mark["tags"]) == ('mark["beta"]', [1])
    assert [(s["service"], s["policies"]) for s in mark["writes"] + mark["reads"]] == [
        ("door", ["label"]),
        ("relay", ["ask"]),
    ]


def test_why_says_what_is_done_to_the_tag_at_a_service(load, tmp_path: Path):
    load(LABEL + ASK)
    door = m4("plan", tmp_path, "--why", "door").out
    for said in ("writes the context tag", "strips the context tag", 'writes mark["beta"]'):
        assert f"    {said} on outside -> door\n" in door
    assert '    reads mark["beta"] on relay -> vault\n' in m4("plan", tmp_path, "--why", "relay").out


def test_hover_and_hints_say_it_where_the_mark_is_written(load, tmp_path: Path):
    load(LABEL + ASK)
    workspace, file = Workspace([tmp_path]), (tmp_path / "m.m4").as_posix()
    text = workspace.text(file)
    found = hover(workspace, file, text.index('Mark("beta') + len('Mark("be'))
    assert found is not None
    assert "In the plan:\n- tag 1 of 1 bit\n- written at ingress of outside -> door by envoy for label" in found.text
    assert "- read at egress of relay -> vault by ebpf for ask" in found.text
    shown = {h.text: h.about for h in hints(workspace, survey(workspace), file, 0, len(text)) if h.kind == "tag"}
    assert set(shown) == {"tag of 1 bit", "tag 1 of 1 bit"}
    assert all("read at egress of relay -> vault" in about for about in shown.values())


def test_a_mark_that_nobody_has_to_note_is_said_to_be(load, tmp_path: Path):
    load(LABEL)
    workspace, file = Workspace([tmp_path]), (tmp_path / "m.m4").as_posix()
    found = hover(workspace, file, workspace.text(file).index('Mark("beta') + len('Mark("be'))
    assert found is not None and "In the plan nobody has to note it." in found.text


def test_the_table_of_four_applications_is_what_their_plans_say():
    """Columns: services, elements, cost, and for two baselines how many sidecars and their cost, and what is saved."""
    page = (ROOT / "docs/plans.md").read_text("utf-8")
    rows = re.findall(r"^\| ([A-Z]\w+ ?\w+) \|((?: [\d ,a-z]+ \|){7})$", page, re.M)
    assert len(rows) == 4
    for name, cells in rows:
        workspace = Workspace([ROOT / "examples" / name.lower().replace(" ", "-")])
        (mesh,) = workspace.meshes()
        program, made = project.program(workspace.db, mesh), project.plan(workspace.db, mesh)
        assert program is not None and made is not None
        said = [tuple(map(int, re.findall(r"\d+", cell))) for cell in cells.split("|")[:-1]]
        services, elements = len(program.graph.services), len(made.elements)
        matched = len({service for run in made.runs for service in run.rule.hop if service is not None})
        least = where_policies_match(program, made)
        assert said == [
            (services,),
            (elements,),
            (made.cost,),
            (services, made.baseline_cost),
            (services - elements, made.baseline_cost - made.cost),
            (matched, least),
            (matched - elements, least - made.cost),
        ], name
