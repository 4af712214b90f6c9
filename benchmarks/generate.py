"""Generates workspaces to measure on: a graph, a mesh and policies as teams would write them. A seed gives one text.

Most policies are about the requests to one service, and narrow. Policies that write the same attribute at one service
get conditions, or callers, that exclude each other, but for a few that are let collide: how many policies end up in a
conflict is for the checker to say. Time limits get shorter from layer to layer, and requests are repeated in front of
stores only.

Usage: python -m benchmarks.generate FOLDER [--policies N] [--services N] [--calls N] [--files N] [--seed N]
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from random import Random

from benchmarks.graphs import Service, service_graph, yaml

GUARD = "no_internals"  # a policy that others override, of 10,000 in about 100 files
COLLIDING = 0.007  # of all policies, the share that gets one more against it
OVERRIDING = 0.015  # and the share that gets one that overrides it
LIMITS = ("10s", "5s", "3s", "2s", "1s", "800ms", "500ms", "300ms")  # of the calls into each layer
RESOURCES = ("orders", "items", "users", "carts", "quotes", "events", "reports", "files", "sessions", "labels")
EXCLUDE = ("caller", "caller", "path", "path", "tenant", "host", "method")
EGRESS = ("route", "timeout", "retries")  # what the caller's side does
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
SET = ("x-route-class", "x-priority", "x-region", "x-cache-policy", "x-price-list", "x-budget", "x-variant", "x-trace")
VALUES = ("low", "high", "gold", "silver", "eu", "us", "none", "batch", "a", "b")
NARROWER = (
    'r.method in ["GET", "HEAD"]',
    'r.method != "DELETE"',
    '!(r.method == "PATCH")',
    'exists r.header["x-request-id"]',
    'r.header["accept"] contains "json"',
    'r.header["x-api-version"] in ["1", "2"]',
    'r.header["user-agent"] starts_with "shop-"',
    '!(r.header["x-operator"] == "yes")',
    'r.header["x-user-group"] matches r"(beta|staff)(-[0-9]+)?"',
    '(r.header["x-plan"] == "gold" || r.header["x-plan"] == "silver")',
)


@dataclass(frozen=True, slots=True)
class Size:
    """How large a workspace is."""

    policies: int
    services: int
    calls: int
    files: int

    @staticmethod
    def of(policies: int, services: int | None = None, calls: int | None = None, files: int | None = None) -> Size:
        """What is not said is in proportion: ten policies a service, five calls of it, twenty policies a file."""
        services = services or max(12, policies // 10)
        return Size(policies, services, calls or 5 * services, files or max(2, policies // 20))


@dataclass(slots=True)
class Policy:
    """A policy as text in parts."""

    name: str
    team: str
    pattern: str
    body: str
    side: str = ""
    when: list[str] = field(default_factory=list)
    overrides: str = ""
    after: str = ""

    def __str__(self) -> str:
        head = f'@owner("{self.team}")\n' if self.team else ""
        side = f" at {self.side}" if self.side else ""
        when = f"\n    when {' && '.join(self.when)}" if self.when else ""
        orders = "".join(f"\n    {w} {p}" for w, p in (("overrides", self.overrides), ("after", self.after)) if p)
        where = f"    on {self.pattern}{side}{when}{orders}"
        return f"{head}policy {self.name} (HttpRequest r)\n{where}\n{{\n{self.body}}}\n"


def program(size: Size, seed: int = 0) -> dict[str, str]:
    """The files of a workspace, by their paths in it."""
    rng = Random(f"{seed}/{size}")
    services = service_graph(rng, size.services, size.calls)
    author = _Author(rng, services)
    per_file = _spread(author.write(size.policies - 1, max(1, size.files // 3)), size.files - 2)
    files = {"graph.yaml": yaml(services), "mesh.m4": author.mesh(), "platform.m4": str(author.guard())}
    for number, policies in enumerate(per_file):
        folder = policies[0].team or "platform"
        files[f"{folder}/policies-{number:04}.m4"] = "\n".join(map(str, policies))
    return files


def write(folder: Path, size: Size, seed: int = 0) -> None:
    """Writes a workspace into a folder."""
    for path, text in program(size, seed).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def _spread(policies: list[Policy], files: int) -> list[list[Policy]]:
    """Policies in order, in so many parts of about one length."""
    files = max(1, min(files, len(policies)))
    cuts = [len(policies) * i // files for i in range(files + 1)]
    return [policies[a:b] for a, b in pairwise(cuts)]


class _Slot:
    """One attribute at one service: by what the policies that write it exclude each other, and how many there are."""

    def __init__(self, by: str) -> None:
        self.by = by
        self.used = 0


class _Author:
    """Writes policies for the services of a graph."""

    def __init__(self, rng: Random, services: list[Service]) -> None:
        self.rng = rng
        self.services = services
        self.inner = [s for s in services if not s.starts]
        self.stores = [s for s in services if s.kind == "store"]
        middle = [s for s in self.inner if s.kind == "service"]
        picked = rng.sample(middle, min(len(middle), max(2, len(services) // 20) * 2))
        self.restricted = picked[: len(picked) // 2]
        self.closed = frozenset(self.restricted)
        self.edge = picked[len(picked) // 2 :]
        self.slots: dict[tuple[str, str], _Slot] = {}
        self.numbers: dict[str, int] = {}
        self.avoided: dict[str, str] = {}
        self.teams = sorted({s.team for s in services})

    # --- the mesh ---

    def mesh(self) -> str:
        groups = (("restricted", self.restricted), ("edge", self.edge))
        said = "".join(f"    group {name} = {{ {', '.join(s.name for s in of)} }};\n" for name, of in groups if of)
        closed = "    default HttpRequest.verdict = deny on * -> @restricted;\n" if self.restricted else ""
        return f'mesh shop {{\n    graph "graph.yaml";\n    dataplanes ebpf, envoy;\n{said}{closed}}}\n'

    def guard(self) -> Policy:
        when = ['r.url_path starts_with "/internal/"']
        return Policy(GUARD, "", "* -> [kind: store]", "    r.DropRequest(404);\n", "", when)

    # --- policies ---

    def write(self, count: int, guarded: int) -> list[Policy]:
        """So many policies, by team and service; some of them, each at a store of its own, override the guard."""
        weights = list(accumulate(1 + len(s.callers) ** 0.5 for s in self.inner))
        by_service: dict[str, list[Policy]] = {s.name: [] for s in self.inner}
        guarded = max(1, min(guarded, count // 4))
        for store in self.stores[:: max(1, len(self.stores) // guarded)][:guarded]:
            by_service[store.name].append(self._exception(store))
        for service in self.restricted[
            : count // 4
        ]:  # else nothing but what single policies let pass would ever get there
            when = ['r.header["x-user-group"] == "staff"']
            name = self._name(service.name, "staff")
            by_service[service.name].append(Policy(name, service.team, f"* -> {service.name}", _ALLOW, "", when))
        left = count - sum(map(len, by_service.values()))
        for policy in self._wide(max(1, left // 100)):
            by_service[self.inner[0].name].append(policy)
            left -= 1
        while left > 0:
            service = self.rng.choices(self.inner, cum_weights=weights)[0]
            new = self._about(service)[:left]
            by_service[service.name] += new
            left -= len(new)
        order = sorted(self.inner, key=lambda s: (s.team, s.layer))
        return [p for s in order for p in by_service[s.name]]

    def _name(self, service: str, word: str) -> str:
        stem = f"{re.sub(r'[^a-z0-9]', '_', service)}_{word}"
        self.numbers[stem] = self.numbers.get(stem, 0) + 1
        return f"{stem}_{self.numbers[stem]}"

    def _exception(self, store: Service) -> Policy:
        when = ['r.url_path starts_with "/internal/health"']
        pattern = f"* -> {store.name}"
        return Policy(self._name(store.name, "health"), store.team, pattern, _ALLOW, "", when, GUARD)

    def _wide(self, count: int) -> Iterator[Policy]:
        """What a platform wants of many services at once: of those of one team, or of a whole kind."""
        for team in self.teams[: count // 2]:
            body = f'    r.SetHeader("x-cost-center", "{team}");\n'
            yield Policy(self._name(team, "costs"), team, f"* -> [team: {team}]", body)
        for number in range(count - len(self.teams[: count // 2])):
            body = f'    r.RemoveHeader("x-debug-{number}");\n'
            yield Policy(self._name("platform", "strip"), "platform", "outside -> [kind: gateway]", body)

    def _about(self, service: Service) -> list[Policy]:
        """A policy about requests to a service, with what comes along with it."""
        word, attribute, body, other = self._wish(service)
        where = self._where(service, attribute)
        if where is None:
            return []
        pattern, side, when = where
        policy = Policy(self._name(service.name, word), service.team, pattern, body, side, when)
        luck = self.rng.random()
        if luck < COLLIDING and other:
            team = self.rng.choice(self.teams)
            return [policy, Policy(self._name(service.name, "also"), team, pattern, other, side, list(when))]
        if luck < COLLIDING + OVERRIDING and other and service not in self.closed:
            name = self._name(service.name, "rather")
            when = [*when, self.rng.choice([n for n in NARROWER if n not in when])]
            return [policy, Policy(name, service.team, pattern, other, side, when, policy.name)]
        if luck > 0.985 and word == "sets":
            return [policy, *self._reader(service, policy)]
        return [policy]

    def _reader(self, service: Service, policy: Policy) -> list[Policy]:
        """One that asks for a header which the other, from now on, sets under a name of the service's own."""
        where = self._where(service, "x-tier")
        if where is None:
            return []
        header = f"x-{service.name}-tier-{self.numbers[policy.name.rpartition('_')[0]]}"
        policy.body = f'    r.SetHeader("{header}", "gold");\n'
        pattern, side, when = where
        when = [*when, f'r.header["{header}"] == "gold"']
        body = '    r.SetHeader("x-tier", "gold");\n'
        name = self._name(service.name, "reads")
        return [Policy(name, service.team, pattern, body, side, when, after=policy.name)]

    def _wish(self, service: Service) -> tuple[str, str, str, str]:
        """A word for the name, the attribute that is written, the body, and one that contradicts it (empty: none)."""
        rng = self.rng
        kinds = [("verdict", 32), ("header", 36), ("timeout", 14), ("append", 4), ("log", 3), ("ends", 3)]
        kinds += [("route", 12)] if service.versions else []
        kinds += [("retries", 2)] if service.kind == "store" else []
        kind = rng.choices([k for k, _ in kinds], [w for _, w in kinds])[0]
        closed = service in self.closed
        match kind:
            case "verdict" if closed:
                return "allows", "verdict", _ALLOW, "    r.DropRequest();\n"
            case "verdict":
                status = rng.choice(("", "", "404", "405", "status: 429"))
                return "denies", "verdict", f"    r.DropRequest({status});\n", _ALLOW
            case "ends" if not closed:
                if rng.random() < 0.5:
                    return "moves", "verdict", f'    r.Redirect("/{rng.choice(RESOURCES)}/new");\n', _ALLOW
                return "answers", "verdict", '    r.Respond(200, "ok");\n', _ALLOW
            case "timeout":
                layer = service.layer - (2 if rng.random() < 0.01 else 0)
                limit = LIMITS[min(max(layer, 0), len(LIMITS) - 1)]
                return "waits", "timeout", f"    r.SetTimeout({limit});\n", ""
            case "retries":
                return "repeats", "retries", f"    r.Retry({rng.choice((1, 2, 3))});\n", ""
            case "route":
                return "splits", "route", self._split(service, 5 * rng.randrange(1, 10)), self._split(service, 50)
            case "append":
                return "adds", "append", f'    r.AppendHeader("x-via-policy", "{rng.choice(VALUES)}");\n', ""
            case "log":
                return "logs", "log", f"    r.LogSample({rng.choice((1, 5, 10))}%);\n", ""
        return ("sets", *self._header())

    def _header(self) -> tuple[str, str, str]:
        rng = self.rng
        header = rng.choice(SET)
        one, two, three = rng.sample(VALUES, 3)
        body = f'    r.SetHeader("{header}", "{one}");\n'
        luck = rng.random()
        if luck < 0.1:
            body = (
                f'    if (r.header["x-plan"] == "gold") {{\n    {body}    }} else {{\n'
                f'        r.SetHeader("{header}", "{two}");\n    }}\n'
            )
        elif luck < 0.13:
            body = f'    let value = "{one}";\n    r.SetHeader("{header}", value);\n'
        elif luck < 0.2:
            body = f'    r.RemoveHeader("{header}");\n'
        return header, body, f'    r.SetHeader("{header}", "{three}");\n'

    def _split(self, service: Service, share: int) -> str:
        first, last = service.versions[0], service.versions[-1]
        return f"    r.Split({{ {first}: {100 - share}%, {last}: {share}% }});\n"

    # --- where a policy counts ---

    def _where(self, service: Service, attribute: str) -> tuple[str, str, list[str]] | None:
        """Pattern, side and conditions that exclude those which the attribute has at the service already; None if
        nothing is left."""
        slot = self.slots.get((service.name, attribute))
        if slot is None:
            by = "path" if attribute == "verdict" else self.rng.choice(EXCLUDE)
            slot = self.slots[service.name, attribute] = _Slot(by)
        number, slot.used = slot.used, slot.used + 1
        if slot.by == "caller":
            if number >= len(service.callers):
                return None
            caller = service.callers[number]
            pattern, side, when = self._from(caller, service), "", list[str]()
        else:
            if slot.by == "method" and number >= len(METHODS):
                return None
            pattern, side = self._pattern(service, attribute not in EGRESS)
            when = [_CONDITIONS[slot.by](number, self.rng)]
        if self.rng.random() < 0.3:
            when.append(self.rng.choice([n for n in NARROWER if slot.by != "method" or "method" not in n]))
        if not side and attribute not in EGRESS and self.rng.random() < 0.05:
            side = self.rng.choice(("egress", "ingress"))
        return pattern, side, when

    def _from(self, caller: Service, service: Service) -> str:
        """A pattern of requests that one service sends to another."""
        luck = self.rng.random()
        if caller.starts:
            return f"{'outside -> ' if caller.kind == 'gateway' and luck < 0.5 else ''}{caller.name} -> {service.name}"
        if luck < 0.15:
            return f"* -> {self.rng.choice(caller.callers).name} -> {caller.name} -> {service.name}"
        return f"* -> {caller.name} -> {service.name}"

    def _pattern(self, service: Service, versions: bool) -> tuple[str, str]:
        """A pattern that ends at a service, or at a version of it, and a side if it needs one."""
        name, callers = service.name, service.callers
        caller = self.rng.choice(callers)
        match self.rng.choices(range(10), (34, 30, 5, 6, 4, 3, 3, 2, 2, 2))[0]:
            case 0:
                return f"* -> {name}", ""
            case 2 if any(s.kind == "gateway" for s in self._to(service)):
                return f"outside -> * -> {name}", ""
            case 3:
                return f"{self._to(service)[0].name} -> * -> {name}", ""
            case 4:
                return self._around(service), ""
            case 5 if len(callers) > 1:
                one, two = self.rng.sample(callers, 2)
                return f"* -> ({one.name} | {two.name}) -> {name}", ""
            case 6:
                by = "@edge" if caller in self.edge else f"[kind: {caller.kind}]"
                return f"* -> {by} -> {name}", ""
            case 7 if len(callers) > 1:
                return f"* -> !{caller.name} -> {name}", ""
            case 8:
                return f"* -> ? -> {name}", ""
            case 9 if service.versions and versions:
                return f"* -> {name}:{self.rng.choice(service.versions)}", "ingress"
            case 9 if caller.versions:
                return f"* -> {caller.name}:{self.rng.choice(caller.versions)} -> {name}", ""
        return self._from(caller, service), ""

    def _to(self, service: Service) -> list[Service]:
        """A walk from where a chain begins to a service."""
        walk = [service]
        while not walk[0].starts:
            above = [c for c in walk[0].callers if c.layer < walk[0].layer] or walk[0].callers
            walk.insert(0, self.rng.choice(above))
        return walk

    def _around(self, service: Service) -> str:
        """From where a chain begins to a service, past one that is the same for all chains from there."""
        walk = self._to(service)
        first, names = walk[0].name, [s.name for s in walk]
        beside = [c.name for s in walk[:-1] for c in s.callees if c.name not in names]
        avoided = self.avoided.get(first) or (self.rng.choice(beside) if beside else "")
        if not avoided or avoided in names:
            return f"{first} -> * -> {service.name}"
        self.avoided[first] = avoided
        return f"{first} -> (!{avoided})* -> {service.name}"


_ALLOW = "    r.AllowRequest();\n"


def _path(number: int, rng: Random) -> str:
    """Paths of one resource; no two numbers have a path in common."""
    of = f"/v{1 + number // len(RESOURCES)}/{RESOURCES[number % len(RESOURCES)]}"
    return rng.choice(
        (
            f'r.url_path starts_with "{of}/"',
            f'r.url_path starts_with "{of}/"',
            f'r.url_path == "{of}"',
            f'r.url_path in ["{of}", "{of}/new"]',
            f'r.url_path matches r"{of}/[0-9]+"',
        )
    )


_CONDITIONS: dict[str, Callable[[int, Random], str]] = {
    "path": _path,
    "tenant": lambda number, _: f'r.header["x-tenant"] == "t{number}"',
    "host": lambda number, _: f'r.target_host == "{RESOURCES[number % 10]}{number // 10 or ""}.shop.example"',
    "method": lambda number, _: f'r.method == "{METHODS[number]}"',
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--policies", type=int, default=10_000)
    for what in ("services", "calls", "files"):
        parser.add_argument(f"--{what}", type=int, help="default: in proportion to the policies")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write(args.folder, Size.of(args.policies, args.services, args.calls, args.files), args.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
