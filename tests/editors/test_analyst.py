"""The thread that answers questions: what stops what, and in which order."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from m4c.workspace import Workspace

from m4ls.analyst import Analyst, Interrupted, Outdated


@pytest_asyncio.fixture
async def analyst(workspace: Path) -> AsyncIterator[Analyst]:
    made = Analyst()
    made.start([str(workspace)])
    yield made
    made.close()


class Endless:
    """A question that has no answer until it is stopped."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()

    def __call__(self, workspace: Workspace) -> None:
        self.begun.set()
        try:
            while True:
                workspace.db.checkpoint()
                time.sleep(0.001)
        finally:
            self.ended.set()


def codes(workspace: Workspace) -> list[str]:
    return [p.code for p in workspace.problems()]


async def begun(question: Endless) -> None:
    assert await asyncio.to_thread(question.begun.wait, 120)


async def test_a_question_stops_a_check(analyst: Analyst) -> None:
    endless = Endless()
    check = asyncio.create_task(analyst.check(endless))
    await begun(endless)
    assert await asyncio.wait_for(analyst.ask(codes), 120) == ["contradiction"]
    with pytest.raises(Interrupted):
        await check


async def test_an_edit_stops_a_long_answer_about_the_text_before_it(analyst: Analyst, workspace: Path) -> None:
    endless = Endless()
    asked = asyncio.create_task(analyst.ask(endless, long=True))
    waiting = asyncio.create_task(analyst.ask(codes, long=True))
    short = asyncio.create_task(analyst.ask(codes))
    await begun(endless)
    analyst.edit(str(workspace / "even.m4"), "")
    for question in (asked, waiting):
        with pytest.raises(Outdated):
            await asyncio.wait_for(question, 120)
    assert await asyncio.wait_for(short, 120) == ["contradiction"], "it was asked before the edit"
    assert await asyncio.wait_for(analyst.ask(codes), 120) == []


async def test_what_nobody_waits_for_any_more_is_stopped(analyst: Analyst) -> None:
    endless, behind = Endless(), Endless()
    asked, waiting = asyncio.create_task(analyst.ask(endless)), asyncio.create_task(analyst.ask(behind))
    await begun(endless)
    waiting.cancel()
    await asyncio.sleep(0)
    asked.cancel()
    assert await asyncio.to_thread(endless.ended.wait, 120)
    assert await asyncio.wait_for(analyst.ask(codes), 120) == ["contradiction"]
    assert not behind.begun.is_set()


async def test_texts_count_that_came_before_the_workspace_was_opened(workspace: Path) -> None:
    analyst = Analyst()
    analyst.edit(str(workspace / "even.m4"), "")
    analyst.start([str(workspace)])
    try:
        assert await asyncio.wait_for(analyst.ask(codes), 120) == []
        analyst.edit(str(workspace / "even.m4"), (workspace / "even.m4").read_text())
        assert await asyncio.wait_for(analyst.ask(codes), 120) == ["contradiction"]
    finally:
        analyst.close()
