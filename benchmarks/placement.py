"""The planner by itself: how long the cheapest plan of generated meshes takes, in one process, beside Wire's problem in
z3 where it can say the same.

Every row is a mesh from a seed, as M4 text, read with the shipped specs. A time is that from the checked program to the
plan, tags included, of the processor: one thread does it all. Policies of one hop are about the requests from one
service to another. Those with context are about chains from where they began (`web -> * -> store`, also past another
service, or from outside), or about the hops before the last. No two policies contradict, for who plans has no
contradictions left.

Usage: python -m benchmarks.placement [--only ROW …] [--rounds N] [--seed N]      (prints a table)
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.graphs import Service, service_graph, yaml
from benchmarks.results import Figure, figure, machine
from benchmarks.table import Line, markdown, on, text, verdict

if TYPE_CHECKING:
    from m4c.placement.plan import Plan
    from m4c.semantics.model import Program
    from m4c.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
BOUTIQUE = ROOT / "examples/online-boutique"
PEER_TIMES = 100  # how much faster than the peer the planner is to be
KERNEL_WITHOUT_TAGS = """
spec filter {
    tier kernel;
    cost 1;
    peer egress;
    supports HttpRequest {
        reads method, url_path, header with (== != in starts_with ends_with contains exists) at egress;
        operation AllowRequest at egress;
        operation DropRequest at egress;
    }
}
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a generated mesh is. `context`: the share of policies that depend on the path before the last hop."""

    services: int
    calls: int
    policies: int
    context: float
    kernel: str = "ebpf"


WIRE = Shape(250, 1_400, 1_250, 0.0)
MIXED = Shape(1_000, 5_000, 1_000, 1 / 3)
PROXIES = replace(MIXED, kernel="filter")
LARGE = Shape(10_000, 50_000, 1_000, 1 / 3)


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured: until a plan that costs at most `gap` more than the cheapest, by proof; 0: until it is proven
    to be the cheapest. `budget` in seconds."""

    key: str
    title: str
    shape: Shape | None
    gap: float
    budget: float


ROWS = (
    Row("boutique", "12 services, 8 policies (Online Boutique), proven", None, 0.0, 0.030),
    Row("wire", "250 / 1,250, one hop each, 1,400 calls, proven", WIRE, 0.0, 0.250),
    Row("mixed-3", "1,000 / 1,000, a third with context, within 3%", MIXED, 0.03, 1.5),
    Row("mixed", "1,000 / 1,000, a third with context, proven", MIXED, 0.0, 6.0),
    Row("proxies-3", "the same, only proxies write tags, within 3%", PROXIES, 0.03, 5.0),
    Row("proxies", "the same, only proxies write tags, proven", PROXIES, 0.0, 60.0),
    Row("large", "10,000 / 1,000, a third with context, within 5%", LARGE, 0.05, 30.0),
)
EDIT = Row("edit", "one policy edited at 1,000 / 1,000, within 3%", MIXED, 0.03, 0.100)


# --- meshes -----------------------------------------------------------------------------------------------------------


def write(folder: Path, shape: Shape, seed: int = 0) -> None:
    """Writes a mesh into a folder; a file of policies holds up to twenty."""
    rng = Random(f"{seed}/{shape}")
    services = service_graph(rng, shape.services, shape.calls)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "graph.yaml").write_text(yaml(services), encoding="utf-8")
    own = KERNEL_WITHOUT_TAGS if shape.kernel == "filter" else ""
    mesh = f'mesh shop {{\n    graph "graph.yaml";\n    dataplanes {shape.kernel}, envoy;\n}}\n'
    (folder / "mesh.m4").write_text(mesh, encoding="utf-8")
    if own:
        (folder / "filter.m4").write_text(own, encoding="utf-8")
    written = policies(rng, services, shape)
    for number, some in enumerate(iter(lambda: list(islice(written, 20)), [])):
        (folder / f"policies-{number:04}.m4").write_text("\n".join(some), encoding="utf-8")


def policies(rng: Random, services: Sequence[Service], shape: Shape) -> Iterator[str]:
    """Policies that do not contradict: each that writes has a header of its own, all refusals say the same, and on one
    hop only one says how long to wait."""
    calls = [(u, v) for u in services for v in u.callees]
    starts = [s for s in services if s.starts and s.callees]
    waiting: set[tuple[str, str]] = set()
    for number in range(shape.policies):
        hop: tuple[str, str] | None = None
        if rng.random() < shape.context:
            pattern = _with_context(rng, starts, calls)
        elif rng.random() < 0.9:
            caller, callee = rng.choice(calls)
            pattern, hop = f"* -> {caller.name} -> {callee.name}", (caller.name, callee.name)
        else:
            pattern = f"* -> {rng.choice(calls)[1].name}"
        when, body = _body(rng, number)
        if hop is not None and hop not in waiting and rng.random() < 0.25:
            waiting.add(hop)
            when, body = "", "r.SetTimeout(2s);"
        yield f"policy p{number} (HttpRequest r) on {pattern}{when} {{ {body} }}\n"


def _with_context(rng: Random, starts: Sequence[Service], calls: Sequence[tuple[Service, Service]]) -> str:
    luck = rng.random()
    if luck < 0.2:
        middle, last = rng.choice([c for c in calls if c[0].callers])
        return f"* -> {rng.choice(middle.callers).name} -> {middle.name} -> {last.name}"
    walk = [rng.choice(starts)]
    for _ in range(rng.randint(2, 5)):
        if not walk[-1].callees:
            break
        walk.append(rng.choice(walk[-1].callees))
    first, last = walk[0], walk[-1]
    if luck < 0.3 and first.kind == "gateway":
        return f"outside -> * -> {last.name}"
    beside = [s.name for s in first.callees if s not in walk]
    if luck < 0.45 and beside:
        return f"{first.name} -> (!{rng.choice(beside)})* -> {last.name}"
    return f"{first.name} -> * -> {last.name}"


def _body(rng: Random, number: int) -> tuple[str, str]:
    """(condition, operation): half of them can be done in the kernel."""
    luck = rng.random()
    path = f' when r.url_path starts_with "/{number}/"'
    if luck < 0.5:
        return path, "r.DropRequest();"
    if luck < 0.6:
        return f' when r.url_path matches r"/{number}/[0-9]+"', "r.DropRequest();"
    if luck < 0.8:
        return "", f'r.SetHeader("x-policy-{number}", "yes");'
    return path, f'r.AppendHeader("x-seen-{number}", "yes");'


# --- what is measured -------------------------------------------------------------------------------------------------


def opened(folder: Path) -> tuple[Workspace, str, Program]:
    """The workspace in a folder, its mesh and its program."""
    from m4c import project
    from m4c.workspace import Workspace

    workspace = Workspace([folder])
    (mesh,) = project.mesh_names(workspace.db)
    program = project.program(workspace.db, mesh)
    if program is None:
        raise RuntimeError(f"no program in {folder}")
    gc.collect()
    return workspace, mesh, program


def measure(row: Row, rounds: int, seed: int) -> tuple[Figure, Plan, Program]:
    """Plans anew so many times."""
    from m4c.placement.plan import plan

    with tempfile.TemporaryDirectory(prefix="m4-plan-") as name:
        folder = BOUTIQUE
        if row.shape is not None:
            folder = Path(name)
            write(folder, row.shape, seed)
        _, _, program = opened(folder)
    times: list[float] = []
    made: Plan | None = None
    for _ in range(rounds):
        start = time.process_time()
        now = plan(program, gap=row.gap)
        times.append(time.process_time() - start)
        if made is not None and now != made:
            raise RuntimeError("planning again gives another plan")
        made = now
    if made is None:
        raise RuntimeError("nothing was measured")
    proof = "proven optimal" if made.optimal else f"within {made.gap:.1%}"
    did = f"cost {made.cost:,} of {made.baseline_cost:,}, {len(made.elements):,} elements, {proof}"
    if made.unenforceable:
        did += f", {len({u.policy for u in made.unenforceable}):,} policies unenforceable"
    if not made.optimal and made.gap > row.gap:
        return Figure(row.key, "s", note=f"failed: {did}"), made, program
    return figure(row.key, "s", times, did), made, program


def peer(program: Program, limit: float) -> tuple[float, int | None]:
    """Wire's formulation of the same instance, for z3: (seconds, the least cost; None: not found in time).

    As published (github.com/utnslab/wire-mesh, pkg/placement): whether a service *implements* a policy, whether it
    *executes* it for a request, whether it has a sidecar. A policy is implemented by all of the services that send its
    requests or by all that receive them, not by both; each of its requests is executed exactly once; the sidecars come
    to no more than a target, and the least target is searched. There, a variable stands for every request, policy and
    service, here only for those that can be true, for the full set would not fit into memory; and a sidecar is one of
    several dataplanes with costs. The rules are those of our own problem, so resolving them is not counted."""
    import z3
    from m4c.placement.model import build
    from m4c.placement.resolve import resolve

    resolved = resolve(program)
    problem = build(program, resolved.rules, resolved.orders, resolved.patterns)
    start = time.process_time()
    solver = z3.Solver()
    sidecar = {c: z3.Bool(f"x {c.service} {c.dataplane}") for c in problem.candidates}
    of_policy: dict[str, list[Any]] = {}
    for rule in problem.rules:
        of_policy.setdefault(rule.sources[0].policy, []).append(rule)
    for policy, rules in of_policy.items():
        implements: dict[tuple[str, str], z3.BoolRef] = {}
        sides: dict[str, list[z3.BoolRef]] = {"egress": [], "ingress": []}
        for rule in rules:
            executes = []
            for p in problem.positions(rule):
                at = (p.side, p.at.service)
                if at not in implements:
                    implements[at] = z3.Bool(f"i {policy} {p.side} {p.at.service}")
                    sides[p.side].append(implements[at])
                done = z3.Bool(f"e {policy} {rule.hop} {p.side} {p.at.dataplane}")
                solver.add(z3.Implies(done, z3.And(implements[at], sidecar[p.at])))
                executes.append(done)
            solver.add(z3.Sum([z3.If(e, 1, 0) for e in executes]) == 1)
        senders, receivers = (z3.And(of) if of else z3.BoolVal(False) for of in sides.values())
        solver.add(z3.Xor(senders, receivers))
    cost = z3.Sum([z3.If(x, problem.candidates[c], 0) for c, x in sidecar.items()])
    low, high = 0, sum(problem.candidates.values())  # the least cost is above the one and at most the other
    while high - low > 1 or low == 0:
        left = limit - (time.process_time() - start)
        if left <= 0:
            return time.process_time() - start, None
        target = (low + high) // 2
        solver.set("timeout", int(1000 * left) + 1)
        solver.push()
        solver.add(cost <= target)
        answer = solver.check()
        if answer == z3.sat:
            high = int(str(solver.model().eval(cost, model_completion=True)))
        solver.pop()
        if answer == z3.unknown:
            return time.process_time() - start, None
        if answer == z3.unsat:
            low = target
    return time.process_time() - start, high


def plain_peer(program: Program, limit: float) -> tuple[float, int | None]:
    """Our own rows, without more, for z3's optimizer: (seconds, the cost that it found; None: nothing in time)."""
    import z3
    from m4c.placement.model import build
    from m4c.placement.resolve import resolve

    resolved = resolve(program)
    problem = build(program, resolved.rules, resolved.orders, resolved.patterns)
    start = time.process_time()
    optimizer = z3.Optimize()
    optimizer.set("timeout", int(1000 * limit))
    chosen = {c: z3.Bool(f"{c.service} {c.dataplane}") for c in problem.candidates}
    for able in {tuple(p.at for p in problem.positions(rule)) for rule in problem.rules}:
        optimizer.add(z3.Or([chosen[c] for c in able]))
    cost = z3.Sum([z3.If(x, problem.candidates[c], 0) for c, x in chosen.items()])
    optimizer.minimize(cost)
    answer = optimizer.check()
    seconds = time.process_time() - start
    return seconds, int(str(optimizer.model().eval(cost))) if answer == z3.sat else None


def measure_edits(count: int, seed: int) -> Figure:
    """Edits of single policies within one process, each from the new text to the new plan; then it is taken back."""
    from m4c import project
    from m4c.garbage import settle

    rng = Random(seed)
    times: list[float] = []
    with tempfile.TemporaryDirectory(prefix="m4-plan-") as name:
        folder = Path(name)
        write(folder, MIXED, seed)
        workspace, mesh, _ = opened(folder)
        before = project.plan(workspace.db, mesh)
        if before is None:
            return Figure("edit", "s", note="failed: there is no plan")
        worst = before.gap
        gc.collect()
        settle()  # as the language server does after its first check
        for _ in range(count):
            file = rng.choice(sorted(folder.glob("policies-*.m4")))
            old = file.read_text()
            lines = old.splitlines(keepends=True)
            at = rng.choice([i for i, line in enumerate(lines) if line.startswith("policy")])
            new = "".join([*lines[:at], _edited(lines[at], rng), *lines[at + 1 :]])
            for content in (new, old):
                workspace.set_text(file.as_posix(), content)
                project.findings(workspace.db, mesh)  # their time is another row's
                start = time.process_time()
                made = project.plan(workspace.db, mesh)
                times.append(time.process_time() - start)
                if made is None:
                    return Figure("edit", "s", note="failed: there is no plan")
                worst = max(worst, made.gap)
        if made is None or made.cost != before.cost:
            raise RuntimeError("after edits that were all taken back, the plan costs something else")
    return figure("edit", "s", times, f"at most {worst:.1%} from the cheapest")


def _edited(line: str, rng: Random) -> str:
    """A policy that does something else: refuses in place of writing, or writes in place of refusing; or is
    elsewhere."""
    head, _, _ = line.partition(" {")
    name = head.split()[1]
    if "Drop" in line:
        return f'{head} {{ r.SetHeader("x-edited-{name}", "{rng.randint(0, 9)}"); }}\n'
    return f'{head.partition(" when ")[0]} when r.method == "GET" {{ r.DropRequest(); }}\n'


# --- the table --------------------------------------------------------------------------------------------------------


def lines(args: argparse.Namespace) -> Iterator[Line]:
    """The rows, each as soon as it is measured."""
    wanted: Callable[[str], bool] = (lambda key: key in args.only) if args.only else (lambda key: True)
    for row in ROWS:
        if wanted(row.key):
            _say(row.title)
            rounds = args.rounds if row.shape is None or row.shape.services <= 1_000 else 1
            found, made, program = measure(row, rounds, args.seed)
            yield Line(row.title, found, row.budget, None, verdict(found, row.budget, None))
            if row.key == "wire" and found.count:
                yield from _beside_peers(found.median, made, program, args.peer_limit)
    if wanted(EDIT.key):
        _say(EDIT.title)
        found = measure_edits(args.edits, args.seed)
        yield Line(EDIT.title, found, EDIT.budget, None, verdict(found, EDIT.budget, None))


def _beside_peers(ours: float, made: Plan, program: Program, limit: float) -> Iterator[Line]:
    """The peers on the same instance. Whoever ends must find what we found, or in Wire's stricter problem no less."""
    title = "the same, Wire's formulation in z3"
    _say(title)
    seconds, cost = peer(program, limit)
    note = f"not done within {limit:.0f} s" if cost is None else f"cost {cost:,}"
    held = "holds" if seconds >= PEER_TIMES * ours else "missed" if cost is not None else ""
    note += f"; {seconds / ours:,.0f} times as long"
    if cost is not None and made.optimal and cost < made.cost:
        raise RuntimeError(f"the peer's plan costs {cost}, ours {made.cost}")
    yield Line(title, Figure("wire-peer", "s", 1, seconds, seconds, note), None, None, held)
    title = "the same, our rows alone in z3's optimizer"
    _say(title)
    seconds, cost = plain_peer(program, limit)
    if cost is not None and made.optimal and cost != made.cost:
        raise RuntimeError(f"the peer's plan costs {cost}, ours {made.cost}")
    note = f"not done within {limit:.0f} s" if cost is None else f"cost {cost:,}"
    note += f"; {seconds / ours:,.0f} times as long"
    yield Line(title, Figure("wire-plain", "s", 1, seconds, seconds, note), None, None, "")


def _say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.placement", description=__doc__.partition("\n\n")[0])
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="ROW", help="the rows that are measured (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="plans of each mesh (default: 3)")
    parser.add_argument("--edits", type=int, default=50, help="edits, each made and taken back (default: 50)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer-limit", type=float, default=60, help="seconds for the peer (default: 60)")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/performance.md, too")
    parser.add_argument("--out", type=Path, default=ROOT / "out/bench", help="where the JSON goes (default: out/bench)")
    args = parser.parse_args()
    measured = list(lines(args))
    where: dict[str, Any] = {
        "seed": args.seed,
        "machine": machine(),
        "figures": [line.figure.as_json() for line in measured],
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "placement.json").write_text(json.dumps(where, indent=1) + "\n")
    print(text(measured))
    if args.docs:
        from benchmarks import docs

        page = docs.PAGE.read_text("utf-8")
        about = f"- seed {args.seed}\n- {on(where['machine'])}\n\n"
        docs.PAGE.write_text(docs.put(page, about + markdown(measured), docs.PLANNER), "utf-8")
    return 1 if any(line.figure.note.startswith("failed") for line in measured) else 0


if __name__ == "__main__":
    sys.exit(main())
