"""The peer: how Copper and Wire (ASPLOS 2025) find policies that conflict, written anew after what they published
(github.com/utnslab/wire-mesh, pkg/conflict).

Every policy is expanded into the call paths of the graph that it is about, each path is one string, its services
joined by commas. A new policy is compared with all before it: two conflict if both change requests, as all do here, and
a string of one is a part of a string of the other. That is all it looks at. So it cannot see conditions, values, what
operations write, merges, or orders; it takes `cart2` for `cart`. On a graph with cycles a `*` has paths without end:
paths that come to a service twice are left out here, so that the expansion ends at all.

Usage: python -m benchmarks.wire FOLDER [--limit SECONDS]     (prints JSON)
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from benchmarks.edits import POLICY, texts

HEAD = re.compile(r"^policy (\w+) .*\n    on (.*?)(?: at (?:egress|ingress))?$", re.M)
STEP = re.compile(r"\(!?[^)]*\)\*?|\[[^\]]*\]|[^\s>-](?:[^\s>-]|-(?!>))*")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the peer did within its time. Pairs are those that it calls conflicts."""

    policies: int
    expanded: int
    paths: int
    compared: int
    pairs: int
    seconds: float
    complete: bool


class Mesh:
    """What patterns are about: services with their labels, calls, groups."""

    def __init__(self, folder: Path) -> None:
        graph = yaml.load((folder / "graph.yaml").read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        self.labels = {name: (facts or {}).get("labels", {}) for name, facts in graph["services"].items()}
        self.starts = [n for n, facts in graph["services"].items() if (facts or {}).get("origin", True)]
        self.entries = [n for n, facts in graph["services"].items() if (facts or {}).get("entry")]
        self.callees: dict[str, list[str]] = {name: [] for name in self.labels}
        for caller, callee in graph["calls"]:
            self.callees[caller].append(callee)
        groups = re.findall(r"group (\w+) = \{ (.*?) \};", (folder / "mesh.m4").read_text())
        self.groups = {name: frozenset(of.split(", ")) for name, of in groups}

    def step(self, text: str) -> tuple[frozenset[str], bool]:
        """(the services that one step of a pattern stands for, whether there may be any number of them)."""
        many = text.endswith("*")
        text = text[:-1] if many else text
        if text in ("", "?"):
            return frozenset(self.labels), many
        if text.startswith("("):
            text = text[1:-1]
        if text.startswith("!"):
            return frozenset(self.labels) - self.step(text[1:])[0], many
        if text.startswith("@"):
            return self.groups[text[1:]], many
        if text.startswith("["):
            key, value = text[1:-1].split(": ")
            return frozenset(n for n, labels in self.labels.items() if labels.get(key) == value), many
        return frozenset(part.partition(":")[0] for part in text.split(" | ")), many

    def paths(self, pattern: str) -> Iterator[tuple[str, ...]]:
        """The call paths that a pattern matches, without those that come to a service twice. Depth first, at each
        service with the steps of the pattern that may be next."""
        outside = pattern.startswith("outside -> ")
        steps = [self.step(s) for s in STEP.findall(pattern.removeprefix("outside -> "))]

        def open_from(at: int) -> set[int]:
            """The steps that may come next, those behind any number of `*` included."""
            out = {at}
            while at < len(steps) and steps[at][1]:
                at += 1
                out.add(at)
            return out

        def after(places: set[int], service: str) -> set[int]:
            out: set[int] = set()
            for at in places:
                if at < len(steps) and service in steps[at][0]:
                    out |= open_from(at if steps[at][1] else at + 1)
            return out

        first = self.entries if outside else [*self.entries, *self.starts]
        stack: list[tuple[tuple[str, ...], set[int]]]
        stack = [((s,), after(open_from(0), s)) for s in dict.fromkeys(first)]
        while stack:
            path, places = stack.pop()
            if len(steps) in places:
                yield path
            if places - {len(steps)}:
                stack += [((*path, s), after(places, s)) for s in self.callees[path[-1]] if s not in path]


def conflicts(folder: Path, limit: float) -> Outcome:
    """Expands all policies of a folder and compares them, for so many seconds at most."""
    start = time.perf_counter()
    end = start + limit
    mesh = Mesh(folder)
    policies = [HEAD.search(m[0]) for text in texts(folder).values() for m in POLICY.finditer(text)]
    expanded: list[list[str]] = []
    compared = pairs = paths = 0
    complete = True
    for policy in policies:
        if policy is None:
            raise ValueError("a policy without a pattern")
        strings: list[str] = []
        for path in mesh.paths(policy[2]):
            strings.append(",".join(path))
            if len(strings) % 1024 == 0 and time.perf_counter() > end:
                break
        paths += len(strings)
        for other in expanded:
            if time.perf_counter() > end:
                break
            compared += 1
            pairs += _overlap(strings, other, end)
        expanded.append(strings)
        if time.perf_counter() > end:
            complete = False
            break
    return Outcome(len(policies), len(expanded), paths, compared, pairs, time.perf_counter() - start, complete)


def _overlap(ours: list[str], theirs: list[str], end: float) -> bool:
    """Whether one of the strings is a part of one of the others."""
    for number, one in enumerate(ours):
        if number % 64 == 0 and time.perf_counter() > end:
            return False
        if any(one in other if len(one) <= len(other) else other in one for other in theirs):
            return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=float, default=60, help="seconds (default: 60)")
    args = parser.parse_args()
    print(json.dumps(asdict(conflicts(args.folder.absolute(), args.limit))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
