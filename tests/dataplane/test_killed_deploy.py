"""`m4 deploy`, killed at each of its steps: what is in force then, and what the next run makes of it.

The table of docs/howto/deploy.md is this one.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from m4deploy import local, steps
from m4deploy.processes import born
from ports import free_base
from test_deploy_command import WORKING, Shop, wait
from test_local import cgroups_of

OTHER = 410  # what a request gets after the edit

# Which deployment, killed when; what is in force then: the old policies, the new ones, or nothing.
POINTS = [
    ("an edit", "command:copy", WORKING),
    ("an edit", "command:ask", WORKING),
    ("an edit", "command:confirm", OTHER),
    ("an edit", "supervisor:prepare", None),
    ("an edit", "supervisor:validate", None),
    ("an edit", "supervisor:load", None),
    ("an edit", "supervisor:swap", None),
    ("an edit", "supervisor:verify", None),
    ("an edit", "supervisor:confirm", None),
    ("an edit", "supervisor:commit", None),
    ("an edit", "supervisor:settle", None),
    ("a new start", "command:copy", WORKING),
    ("a new start", "command:confirm", OTHER),
    ("a new start", "supervisor:prepare", WORKING),
    ("a new start", "supervisor:yield", None),
    ("a new start", "supervisor:start", None),
    ("a new start", "supervisor:confirm", None),
    ("a new start", "supervisor:commit", None),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("killed"))
    made.renew()
    yield made
    made.m4("undeploy")
    assert cgroups_of(made.state) == []


@pytest.mark.parametrize(("kind", "at", "left"), POINTS, ids=lambda value: str(value).replace(" ", "-"))
def test_the_next_run_repairs(
    shop: Shop, kind: str, at: str, left: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.renew()
    code, _, err = shop.deploy()
    assert code == 0, err
    before = local.status(shop.state)
    assert before is not None
    assert shop.answer() == WORKING

    monkeypatch.setenv(steps.KILL_AT, at)
    shop.change("policies.m4", "418", str(OTHER))
    base = str(free_base() if kind == "a new start" else shop.base)
    process = shop.start("deploy", "--base-port", base)
    said = process.communicate(timeout=600)[1]
    monkeypatch.delenv(steps.KILL_AT)
    who = at.partition(":")[0]
    assert "Traceback" not in said
    late = at == "supervisor:settle"  # the command may have been told that all is well, and see that later
    assert process.returncode == (-signal.SIGKILL if who == "command" else 1) or (late and not process.returncode), said

    # The supervisor sees that nobody waits, and takes back what it did; or it is dead, and all that it held with it.
    if left is None:
        wait(lambda: local.current(shop.state) is None)
        wait(lambda: not any(born(p["pid"]) for p in before["processes"]))
        assert late or "deploy again" in said
    else:
        wait(lambda: local.current(shop.state) is not None and local.status(shop.state) is not None)
        wait(lambda: shop.answer() == left)
    if left == WORKING:  # to the process
        after = local.status(shop.state)
        assert after is not None
        assert [p["pid"] for p in after["processes"]] == [p["pid"] for p in before["processes"]]

    code, _, err = shop.deploy("--base-port", base)
    assert code == 0, err
    assert shop.answer() == OTHER
    code, out, _ = shop.m4("status")
    assert (code, "healthy" in out, "NOT" in out) == (0, True, False)
    (generation,) = shop.state.glob("generation-*")
    assert {p.name for p in generation.iterdir()} == {"built", "run", "journal"}
    assert not (generation / "run" / "update").exists()
    assert len(cgroups_of(shop.state)) <= 1


def test_the_table_of_the_documentation_is_this_one() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "howto" / "deploy.md").read_text("utf-8")
    rows = re.findall(r"^\| (an edit|a new start) \| `(\w+:\w+)` \| ([^|]+) \|", text, re.MULTILINE)
    says = {WORKING: "the old mesh", OTHER: "the new mesh", None: "nothing"}
    assert rows == [(kind, at, says[left]) for kind, at, left in POINTS]
    named = {at for _, at, _ in POINTS}
    assert named == {
        *(f"command:{step}" for step in steps.COMMAND),
        *(f"supervisor:{step}" for step in {*steps.UPDATE, *steps.LAUNCH}),
    }
    assert os.environ.get(steps.KILL_AT) is None
