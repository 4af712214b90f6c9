"""`m4 deploy`, killed at each of its steps: what is in force then, and what the next run makes of it.

The table of docs/howto/deploy.md is this one; `make killed` prints it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from m4deploy import steps
from ports import free_base

from tests.killed.points import OTHER, POINTS, SAYS, Found, Point, attempt, cgroups_of, row
from tests.killed.shop import ROOT, Shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("killed"), free_base())
    made.renew()
    yield made
    made.m4("undeploy")
    assert cgroups_of(made.state) == []


@pytest.mark.parametrize("point", POINTS, ids=lambda p: f"{p.kind}-{p.at}".replace(" ", "-"))
def test_the_next_run_repairs(shop: Shop, point: Point) -> None:
    found = attempt(shop, point, free_base())
    assert found == Found(point, point.left, OTHER, ())


def test_the_table_of_the_documentation_is_this_one() -> None:
    text = (ROOT / "docs" / "howto" / "deploy.md").read_text("utf-8")
    rows = re.findall(r"^\| (?:an edit|a new start) \| `\w+:\w+` \| .+ \|$", text, re.MULTILINE)
    assert rows == [row(Found(point, point.left, OTHER, ())) for point in POINTS]
    assert {point.left for point in POINTS} == SAYS.keys()
    assert {point.at for point in POINTS} == {
        *(f"command:{step}" for step in steps.COMMAND),
        *(f"supervisor:{step}" for step in {*steps.UPDATE, *steps.LAUNCH}),
    }
    assert os.environ.get(steps.KILL_AT) is None
