"""Sends a case in every split through a subject, and says what became of it."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.framing.corpus import Case
from tests.framing.readings import finds
from tests.framing.subjects import PREFIX, Subject

APART = 0.003  # seconds between two pieces, so that a proxy reads them apart
MORE = 1.0  # seconds behind an answer to a malformed stream after which no other one is expected
SILENCE = 2.0  # seconds without any answer after which none is expected, on a busy machine too
PATIENCE = 60.0  # seconds for an answer that must come
AT_ONCE = 160
ANSWER = re.compile(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The statuses in order, what the 200s were answers to, and how the connection went on: "", closed, or held."""

    statuses: tuple[int, ...]
    answered: tuple[str, ...]
    end: str

    def __str__(self) -> str:
        return " ".join([*map(str, self.statuses), *([self.end] if self.end else [])])


@dataclass(frozen=True, slots=True)
class Result:
    """Of all splits of a case: the different outcomes, and what is wrong, empty if nothing."""

    case: Case
    outcomes: tuple[Outcome, ...]
    wrong: tuple[str, ...]
    splits: int

    def __str__(self) -> str:
        """Statuses only: whether a connection is closed a moment earlier or later depends on the split."""
        seen = dict.fromkeys(" ".join(map(str, o.statuses)) or o.end for o in self.outcomes)
        return " / ".join(sorted(seen))


def splits(stream: bytes, every: int = 1) -> Iterator[Sequence[bytes]]:
    """Whole, in two at every place (or some), and byte by byte."""
    yield [stream]
    for cut in range(1, len(stream), every):
        yield [stream[:cut], stream[cut:]]
    yield [stream[i : i + 1] for i in range(len(stream))]


async def run(subject: Subject, cases: Sequence[Case], every: int = 1) -> list[Result]:
    """Cases are sent at the same time. If the application gets what it must not, each is sent once more by itself, to
    tell of which it is."""
    subject.server.streams.clear()
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case, pieces: Sequence[bytes]) -> Outcome:
        async with gate:
            return await talk(subject, pieces, None if case.requests is None else len(case.requests))

    async def all_of(case: Case) -> tuple[Outcome, ...]:
        return tuple(await asyncio.gather(*(one(case, pieces) for pieces in splits(case.stream, every))))

    outcomes = await asyncio.gather(*map(all_of, cases))
    got = {
        f"the application got {stream!r}, and {reader} finds a refused request in it": None
        for stream in {bytes(s) for s in subject.server.streams}
        if (reader := finds(stream, PREFIX)) is not None
    }
    if got and len(cases) > 1:
        return [result for case in cases for result in await run(subject, [case], every)]
    return [
        Result(
            case,
            tuple(dict.fromkeys(of)),
            tuple(dict.fromkeys(said for o in of if (said := wrong(case, o))) | got),
            len(of),
        )
        for case, of in zip(cases, outcomes, strict=True)
    ]


def wrong(case: Case, outcome: Outcome) -> str:
    """What must become of the requests of a well-formed stream, in order: allowed ones are answered by the application.
    A refused one may end the connection, and what is behind it is then neither answered nor passed on."""
    if case.requests is None:
        return ""
    statuses = list(outcome.statuses)
    answered = list(outcome.answered)
    for target in case.requests:
        if target.encode().startswith(PREFIX):
            if statuses[:1] == [403]:
                statuses.pop(0)
                if not statuses and outcome.end == "closed":
                    return ""
                continue
            return "" if not statuses and outcome.end == "closed" else f"{outcome}: {target} was not refused"
        if statuses[:1] != [200] or answered[:1] != [target]:
            return f"{outcome}: {target} was lost"
        statuses.pop(0)
        answered.pop(0)
    return f"{outcome}: more answers than requests" if statuses else ""


async def talk(subject: Subject, pieces: Sequence[bytes], expected: int | None) -> Outcome:
    """One connection. `expected`: how many answers there must be at most; None: nobody knows."""
    loop = asyncio.get_running_loop()
    received = bytearray()
    end = ""
    with socket.socket() as ours:
        ours.setblocking(False)
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(ours, subject.address)
        sending = asyncio.ensure_future(_send(ours, pieces))
        began = loop.time()
        while not end and (expected is None or len(_answers(bytes(received))) < expected):
            try:
                seconds = MORE if received and expected is None else SILENCE
                data = await asyncio.wait_for(loop.sock_recv(ours, 65536), seconds)
            except TimeoutError:
                over = sending.done() and (expected is None or sending.result())
                end = "held" if over or loop.time() > began + PATIENCE else ""
            except OSError:
                end = "closed"
            else:
                received += data
                end = "" if data and not _says_close(bytes(received)) else "closed"
        if await sending and end in ("", "held"):
            end = "closed"
    answers = _answers(bytes(received))
    if end == "held" and answers:
        end = ""
    return Outcome(tuple(s for s, _ in answers), tuple(b for s, b in answers if s == 200), end)


async def _send(ours: socket.socket, pieces: Sequence[bytes]) -> bool:
    """Sends the pieces apart; True if the connection takes no more."""
    for number, piece in enumerate(pieces):
        if number:
            await asyncio.sleep(APART)
        try:
            await asyncio.get_running_loop().sock_sendall(ours, piece)
        except OSError:
            return True
    return False


def _answers(received: bytes) -> list[tuple[int, str]]:
    """The status and body of each complete answer, interim ones left out."""
    return [(status, body) for status, body, _ in _read_answers(received) if status >= 200]


def _says_close(received: bytes) -> bool:
    """Whether an answer is there after which there will be none."""
    return any(close for _, _, close in _read_answers(received))


def _read_answers(received: bytes) -> Iterator[tuple[int, str, bool]]:
    at = 0
    while match := ANSWER.match(received, at):
        length = re.search(rb"(?i)content-length: *(\d+)", match[2])
        at = match.end() + (int(length[1]) if length else 0)
        if at > len(received):
            return
        close = re.search(rb"(?i)connection: *close", match[2]) is not None
        yield int(match[1]), received[match.end() : at].decode("latin-1"), close
