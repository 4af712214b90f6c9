"""Plans for marks: who notes them, who knows them, and what keeps that from being."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from m4c.paths.callpath import CallPath
from m4c.placement.elements import elements
from m4c.placement.plan import plan
from m4c.placement.simulate import simulate
from relayed import CHAIN, HEADER, loaded, where


@pytest.fixture
def load(tmp_path: Path):
    return partial(loaded, tmp_path)


LABEL = 'policy label (HttpRequest r) on outside -> door when r.header["x-group"] == "beta" { r.Mark("beta"); }\n'
ASK = 'policy ask (HttpRequest r) on * -> vault when !r.mark["beta"] { r.DropRequest(); }\n'


def test_a_mark_is_carried_to_who_asks_for_it(load):
    program = load(LABEL + ASK)
    made = plan(program)
    assert ("label", "outside -> door", "door", "envoy") in where(made)
    assert ("ask", "relay -> vault", "relay", "ebpf") in where(made)
    assert made.context.bits == 1
    dicts, path = elements(program, made), CallPath(True, ("door", "relay", "vault"), (None,) * 3)
    plain: dict = {}
    for tag in (0, 1, 2, 4095):
        for header, denied in (("beta", False), ("alpha", True)):
            door = {("header", "x-group"): header}
            assert simulate(dicts, program, path, [door, plain, plain], tag)[-1].terminal is denied


@pytest.mark.parametrize(
    "policies", [LABEL, LABEL + ASK.replace("* -> vault", "batch -> relay -> vault").replace("!r.", "r.")]
)
def test_a_mark_that_nobody_asks_for_behind_it_costs_nothing(load, policies):
    made = plan(load(policies))
    assert (made.unenforceable, made.context.bits) == ((), 0)
    assert "label" not in {o.policy for o in made.operations}
    assert "door" not in {e.service for e in made.elements}


def test_a_mark_is_lost_where_context_is_not_handed_on(load):
    made = plan(load(LABEL + ASK, CHAIN.replace("relay: {origin: false}", "relay: {origin: false, propagates: false}")))
    assert {u.policy for u in made.unenforceable} == {"ask"}
    reasons = {reason for u in made.unenforceable for reason in u.reasons}
    told = 'outside -> door -> relay with mark["beta"]'
    assert any(r.startswith("relay does not hand on the context") and told in r for r in reasons), reasons
    assert made.elements == (), "then nobody has to note it"


def test_a_mark_that_nothing_can_note_is_refused_with_who_asks_for_it(load):
    made = plan(load(LABEL + ASK, header=HEADER.replace(", envoy", "")))
    assert {u.policy for u in made.unenforceable} == {"label", "ask"}
    reasons = {reason for u in made.unenforceable if u.policy == "ask" for reason in u.reasons}
    assert 'nothing that can run on outside -> door notes what becomes of mark["beta"] there' in reasons
