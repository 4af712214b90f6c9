"""What the tests of the proxies have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from envoy_kit import EACH_PROXY, Bench


@pytest.fixture(params=EACH_PROXY)
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Runs each of the proxies in turn."""
    with Bench(tmp_path, request.param) as running:
        yield running


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[Bench]:
    """For what only Envoy can do."""
    with Bench(tmp_path) as running:
        yield running
