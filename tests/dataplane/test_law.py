"""The law, on a few meshes: `make law` tries many more."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, seed, settings
from ports import free_base

from tests.law.holds import Tried, hold
from tests.law.worlds import World, dataplane_sets, worlds

TRIED = Tried()
SETS, _ = dataplane_sets()


@seed(24)
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
    assert set(TRIED.acted) == {name for some in SETS for name in some}, TRIED
