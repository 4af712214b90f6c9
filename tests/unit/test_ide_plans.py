"""What the editor says of a policy's elements, and of why nothing cheaper does."""

from __future__ import annotations

from pathlib import Path

import pytest
from cursors import Desk

FILES = {
    "graph.yaml": "services: {web: {entry: true}, cart: {}, db: {}}\ncalls: [[web, cart], [cart, db]]\n",
    "mesh.m4": 'mesh shop { graph "graph.yaml"; dataplanes ebpf, envoy; }\n',
    "other.m4": 'policy marked (HttpRequest r) on * -> cart -> db { r.SetHeader("x-from", "cart"); }\n',
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, FILES)


def test_hover_says_which_elements_a_policy_has_and_why_none_that_cost_less(desk: Desk) -> None:
    text = 'policy na$0med (HttpRequest r) on * -> web -> cart { r.SetHeader("x-from", "web"); }\n'
    elements = desk.hover(text).partition("Elements:\n")[2].splitlines()
    assert elements[0].startswith(("- `envoy` at `web`, for ", "- `envoy` at `cart`, for "))
    assert "    - ebpf at web has no SetHeader" in elements
    assert "    - ebpf at cart has no SetHeader" in elements


def test_hover_says_whom_an_element_serves_beside(desk: Desk) -> None:
    there_anyway = desk.hover("policy sh$0ut (HttpRequest r) on * -> web -> cart { r.DropRequest(); }\n")
    line = next(line for line in there_anyway.splitlines() if line.startswith("- `envoy` at `cart`, for "))
    assert line.endswith("; it also serves `marked`")
    assert "    - ebpf at web could, for 1" in there_anyway
    timed = "policy timed (HttpRequest r) on * -> cart -> db { r.SetTimeout(2s); }\n"
    shared = desk.hover('policy nam$0ed (HttpRequest r) on * -> cart -> db { r.SetHeader("x-a", "1"); }\n' + timed)
    line = next(line for line in shared.splitlines() if line.startswith("- `envoy` at `cart`, for "))
    assert line.endswith("; it also serves `marked`, `timed`")


def test_hover_says_nothing_of_elements_without_a_plan(desk: Desk) -> None:
    contradiction = 'policy other (HttpRequest r) on * -> cart -> db { r.SetHeader("x-from", "other"); }\n'
    assert "Elements:" not in desk.hover(contradiction.replace("policy other", "policy oth$0er"))
