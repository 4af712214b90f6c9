"""No dataplane is talked around by requests that can be read in two ways; the page shows what the kernel does."""

from __future__ import annotations

import re
from collections import Counter

import m4bpf
import pytest
from ports import free_base

from tests.framing.__main__ import PAGE, results
from tests.framing.corpus import CASES, DENIED, SMUGGLED, Case, chunked, hidden
from tests.framing.readings import finds
from tests.framing.run import Outcome, Result, splits, wrong
from tests.framing.subjects import KERNEL, PREFIX, SUBJECTS, request


def shown() -> dict[str, list[str]]:
    """The rows of the page, by case."""
    lines = re.findall(r"(?m)^\| (\d[\d.]*) \| (.+) \|$", PAGE.read_text("utf-8"))
    return {cells[0]: [section, *cells[1:]] for section, rest in lines for cells in [rest.split(" | ")]}


def told(cell: str, page: str) -> bool:
    """Whether the page has all outcomes of a cell. On a busy machine an answer may come when nobody waits any more."""
    return all(any(known.startswith(seen) for known in page.split(" / ")) for seen in cell.split(" / "))


SECTIONS = (
    "5",
    "5.1",
    "5.2",
    "6",
    "6.1",
    "6.2",
    "6.3",
    "7",
    "7.1",
    "7.1.1",
    "7.1.2",
    "7.2",
    "7.4",
    "11.1",
    "11.2",
    "11.3",
)


def test_every_section_that_says_how_requests_are_read_has_cases() -> None:
    """RFC 9112, 5 to 7 and 11; 7.1.3 says how to read what 7.1 has, 7.3 is about a registry, 11.4 about who listens."""
    counts = Counter(case.section for case in CASES)
    assert [section for section in SECTIONS if not counts[section]] == []
    assert all(counts[section] >= 10 for section in ("5.1", "6.1", "6.3", "7.1", "7.1.1", "7.1.2", "11.2"))


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_no_refused_request_passes_and_no_allowed_one_is_lost(subject: str) -> None:
    if m4bpf.cgroup_root() is None or (subject == KERNEL and not m4bpf.probe().ok):
        pytest.skip("the kernel dataplane cannot run here")
    found = await results(subject, free_base(50), 3 if subject == KERNEL else 9)  # `make framing` cuts everywhere
    assert [f"{r.case.name}: {why}" for r in found for why in r.wrong] == []
    if subject == KERNEL:
        page = shown()
        malformed = [r for r in found if r.case.requests is None]
        unheard_of = {r.case.name: str(r) for r in malformed if not told(str(r), page[r.case.name][2])}
        assert unheard_of == {}


def test_the_page_has_every_case() -> None:
    assert {name: (row[0], row[1]) for name, row in shown().items()} == {
        case.name: (case.section, str(len(list(splits(case.stream))))) for case in CASES
    }
    assert len({case.name for case in CASES}) == len(CASES) > 200


def test_every_split_is_the_stream() -> None:
    pieces = list(splits(b"abcd"))
    assert len(pieces) == 5
    assert all(b"".join(p) == b"abcd" for p in pieces)
    assert pieces[-1] == [b"a", b"b", b"c", b"d"]


@pytest.mark.parametrize("case", [c for c in CASES if c.requests is not None], ids=lambda c: c.name)
def test_a_sound_stream_has_one_reading(case: Case) -> None:
    """What is passed on is found by no reader to hold more than the stream's own requests."""
    refused = any(target.encode().startswith(PREFIX) for target in case.requests or ())
    assert (finds(case.stream, PREFIX) is not None) == refused
    at, targets = 0, []
    while (read := request(case.stream, at)) is not None:
        targets.append(read[0].decode())
        at = read[1]
    assert (tuple(targets), at) == (case.requests, len(case.stream))


@pytest.mark.parametrize(
    "stream",
    [
        DENIED,
        b"GET http://pay/admin HTTP/1.1\r\n\r\n",
        b"GET /ok HTTP/1.1\n\nGET /admin HTTP/1.1\n\n",
        hidden(b"Content-Length : %d\r\n").replace(b" : ", b"_: "),
        hidden(b"X-A: b\nContent-Length: %d\r\n"),
        chunked(b"3;a\nXX\r\nabc\r\n0\r\n\r\n" + SMUGGLED),
        b"POST /ok HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        b"POST /ok HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 3\r\n\r\n" + SMUGGLED,
    ],
)
def test_some_reader_is_talked_around(stream: bytes) -> None:
    """The corpus can fail: a reader exists for each way to hide a request."""
    assert finds(stream, PREFIX) is not None


def test_the_page_tells_of_more_than_was_waited_for() -> None:
    assert told("200 / 200 403", "200 / 200 403")
    assert told("200", "400 / 200 403")
    assert not told("200 / 403", "200 / 200 403")
    assert not told("held", "400")


def test_what_is_wrong_is_told() -> None:
    case = Case("two", "9", b"", ("/ok", "/admin"))
    assert wrong(case, Outcome((200, 403), ("/ok",), "")) == ""
    assert wrong(case, Outcome((200,), ("/ok",), "closed")) == ""
    assert "was not refused" in wrong(case, Outcome((200, 200), ("/ok", "/admin"), ""))
    assert "was not refused" in wrong(case, Outcome((200,), ("/ok",), "held"))
    assert "was lost" in wrong(case, Outcome((403,), (), ""))
    assert "was lost" in wrong(case, Outcome((), (), "held"))
    assert "more answers" in wrong(case, Outcome((200, 403, 200), ("/ok",), ""))
    assert str(Result(case, (Outcome((400,), (), "closed"), Outcome((), (), "held")), (), 2)) == "400 / held"
