"""The law, on a few meshes: `make law` tries many more."""

from __future__ import annotations

import pytest
from envoy_kit import EACH_PROXY
from hypothesis import HealthCheck, Phase, given, seed, settings
from m4deploy.proof import Request
from ports import free_base

from tests.law.holds import Tried, hold
from tests.law.worlds import Part, World, dataplane_sets, worlds

TRIED = Tried()
SETS, _ = dataplane_sets()


@seed(11)
@given(worlds(SETS, most=5))
@settings(
    max_examples=8, deadline=None, database=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck)
)
def _mesh(world: World) -> None:
    hold(world, free_base(), TRIED)


def test_requests_get_what_the_interpreter_says() -> None:
    _mesh()
    assert TRIED.requests >= 500, TRIED
    assert TRIED.meshes >= 12, TRIED
    assert 0 < TRIED.ended < TRIED.requests, TRIED
    assert TRIED.counted > 0, TRIED
    assert TRIED.answered > 0, TRIED
    assert set(TRIED.acted) == {name for some in SETS for name in some}, TRIED


@pytest.mark.parametrize("dataplane", EACH_PROXY)
def test_what_is_appended_comes_behind_an_empty_field(dataplane: str) -> None:
    part = Part(
        {"a": "entry: true"},
        (),
        {"more": 'policy more (HttpRequest r) on outside -> a {\n    r.AppendHeader("x-a", "1");\n}\n'},
    )
    requests = tuple(Request("GET", "/", headers) for headers in ((), (("x-a", ""),), (("x-a", "2"),)))
    tried = Tried()
    hold(World((part,), (dataplane,), requests), free_base(), tried)
    assert tried.requests >= len(requests)
