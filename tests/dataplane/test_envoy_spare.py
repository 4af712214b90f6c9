"""An Envoy that waits for the next configuration: it says yes or nothing, whatever becomes of it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from envoy_kit import compare, drop, set_header
from local_kit import build, children, write_manifest
from m4deploy import local
from m4deploy.built import read_built
from m4deploy.drivers.envoy import CONFIG, command
from m4deploy.drivers.envoy_spare import Spare
from m4deploy.errors import DeployError
from m4deploy.processes import born
from ports import free_base

DENY = compare("==", "yes", "x-deny")


def spares(parent: int) -> list[int]:
    return [pid for pid in children(parent) if Path(f"/proc/{pid}/cwd").readlink().name == "spare"]


@pytest.fixture
def spare(tmp_path: Path) -> Iterator[Spare]:
    made = Spare(tmp_path / "spare", lambda config: [*command(config), "--mode", "validate"])
    made.prepare()
    yield made
    made.close()
    assert not (tmp_path / "spare").exists()
    assert not spares(os.getpid())


def config(tmp_path: Path, value: str = "yes") -> str:
    rules: list[dict[str, Any]] = [set_header(0, "x-told", value), drop(1, DENY, 418)]
    made = build(
        tmp_path / "built", [("cart", "envoy")], {("envoy", "cart", "ingress.frontend"): {"rules": rules}}, free_base()
    )
    (element,) = read_built(made).elements
    return element.file(CONFIG).read_text()


def test_it_says_yes_once(tmp_path: Path, spare: Spare) -> None:
    waiting = spare.take()
    assert waiting is not None
    assert spare.take() is None
    assert waiting.accepts(config(tmp_path))
    assert not waiting.accepts(config(tmp_path))
    spare.prepare()
    again = spare.take()
    assert again is not None
    assert again.accepts(config(tmp_path))


def test_it_reads_what_does_not_fit_into_a_pipe(tmp_path: Path, spare: Spare) -> None:
    text = config(tmp_path) + "".join(f"# {n} of many lines\n" for n in range(20_000))
    assert len(text) > 4 * 65536
    waiting = spare.take()
    assert waiting is not None
    assert waiting.accepts(text)


@pytest.mark.parametrize("text", ["", "admin: [", "static_resources: {listeners: [{nome: x}]}"])
def test_it_does_not_take_what_envoy_rejects(spare: Spare, text: str) -> None:
    waiting = spare.take()
    assert waiting is not None
    assert not waiting.accepts(text)


def test_a_part_is_not_taken_for_the_whole(tmp_path: Path, spare: Spare) -> None:
    """It ends in the middle of what it is given."""
    waiting = spare.take()
    assert waiting is not None
    (pid,) = spares(os.getpid())
    os.kill(pid, signal.SIGSTOP)  # nothing empties the pipe
    threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)).start()
    assert not waiting.accepts(config(tmp_path) + "# more\n" * 20_000)


def test_one_that_has_ended_is_replaced(tmp_path: Path, spare: Spare) -> None:
    (pid,) = spares(os.getpid())
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    spare.prepare()
    waiting = spare.take()
    assert waiting is not None
    assert waiting.accepts(config(tmp_path))


def test_edits_use_it_and_what_it_does_not_take_is_explained(tmp_path: Path) -> None:
    base, state = free_base(), tmp_path / "state"

    def shop(number: int) -> Path:
        rules = {"rules": [drop(0, DENY, 410 + number)]}
        return build(
            tmp_path / f"{number}", [("frontend", "envoy")], {("envoy", "frontend", "ingress.outside"): rules}, base
        )

    def supervisor() -> int:
        status = local.status(state)
        assert status is not None
        return int(status["supervisor"])

    try:
        local.deploy(shop(0), state)
        (first,) = spares(supervisor())
        local.deploy(shop(1), state)
        (second,) = spares(supervisor())
        assert born(first) is None
        assert second != first
        wrong = shop(2)
        file = wrong / "envoy" / "frontend" / CONFIG
        file.write_text(file.read_text().replace("domains:", "domeins:"))
        write_manifest(wrong)
        with pytest.raises(DeployError, match="Envoy rejects the configuration of frontend") as refused:
            local.deploy(wrong, state)
        assert "domeins" in refused.value.detail
        assert spares(supervisor()) == []
        local.deploy(shop(3), state)
        assert len(spares(supervisor())) == 1
    finally:
        local.undeploy(state)
    assert born(second) is None
