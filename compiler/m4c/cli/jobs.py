"""What `m4 build`, `m4 plan` and `m4 deploy` do, for the command line and the language server alike."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from m4c import project
from m4c.backends.render import Build, ElementFailure, render
from m4c.backends.wiring import BASE_PORT, NoPortLeft
from m4c.cli.common import errors
from m4c.cli.errors import UsageError
from m4c.cli.output import counted, excerpt
from m4c.cli.paths import relative
from m4c.cli.plugins import plugin
from m4c.ide.journeys import said_of
from m4c.paths.callpath import Hop
from m4c.placement.assemble import Stop, shown
from m4c.placement.elements import elements
from m4c.placement.journey import journeys
from m4c.placement.plan import Plan
from m4c.placement.whatif import where_policies_match
from m4c.semantics.model import Place, Program
from m4c.workspace import Workspace

MANIFEST = "manifest.json"
WIRING = "wiring.json"
Progress = Callable[[str, float], None]


class JobError(UsageError):
    """A build or a deployment cannot be done; the message says why and what to do. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class BuildResult:
    folder: Path
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class DeployResult:
    ok: bool
    message: str  # one line
    text: str  # the rest, for people
    rejected: bool = False  # a dataplane does not take its artifacts: `validation.explained` finds what made them so


def planned(workspace: Workspace, mesh: str) -> tuple[Program, Plan]:
    """The program and its plan; `JobError` if there are errors in the workspace."""
    wrong = errors(workspace, workspace.problems())
    if wrong:
        span = workspace.span(wrong[0].place)
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise JobError(
            f"the workspace has errors ({wrong[0].code} in {relative(span.file)}:{span.start_line + 1}{more}); "
            f"`m4 check` shows them"
        )
    program, plan = project.program(workspace.db, mesh), project.plan(workspace.db, mesh)
    if program is None or plan is None:
        raise JobError(f"there is no plan for mesh `{mesh}`: it needs a graph and at least one dataplane")
    return program, plan


def without(workspace: Workspace, mesh: str, dataplanes: frozenset[str]) -> tuple[Program, Plan]:
    """As `planned`, but without some dataplanes; `JobError` if the rest cannot enforce everything."""
    planned(workspace, mesh)
    found = project.plan_without(workspace.db, mesh, dataplanes)
    if found is None:
        raise JobError(f"there is no plan for mesh `{mesh}`")
    program, plan = found
    if plan.unenforceable:
        first = plan.unenforceable[0]
        lacking = ", ".join(sorted(dataplanes))
        raise JobError(f"without {lacking}, `{first.policy}` cannot be enforced on {first.path}: {first.reasons[0]}")
    return program, plan


def rendered(
    workspace: Workspace, mesh: str, base_port: int = BASE_PORT, lacking: frozenset[str] = frozenset()
) -> Build:
    """The artifacts of a mesh, as values. `lacking`: dataplanes to do without."""
    program, plan = without(workspace, mesh, lacking) if lacking else planned(workspace, mesh)
    return rendered_plan(workspace, program, plan, base_port)


def rendered_plan(workspace: Workspace, program: Program, plan: Plan, base_port: int = BASE_PORT) -> Build:
    """The artifacts of a plan, as values."""
    try:
        return render(program, elements(program, plan), base_port)
    except ElementFailure as e:
        if isinstance(e.at, Place):
            span = workspace.span(e.at)
            at = span.file, span.start_line + 1
        else:
            at = e.at
        raise JobError("\n".join((str(e), *excerpt(*at)))) from None
    except NoPortLeft as e:
        raise JobError(f"{e}; choose a smaller --base-port") from None


def build(
    workspace: Workspace,
    mesh: str,
    out: Path,
    tier: str | None = None,
    policy: str | None = None,
    force: bool = False,
    base_port: int = BASE_PORT,
) -> BuildResult:
    """Writes the artifacts below `out`: all of them, or those of one tier, or of the elements that run one policy."""
    made = rendered(workspace, mesh, base_port)
    program, plan = planned(workspace, mesh)
    files = made.files
    if tier is not None:
        files = tuple(f for f in files if program.dataplanes[f.dataplane].tier == tier)
    if policy is not None:
        used = {(o.service, o.dataplane) for o in plan.operations if o.policy == policy}
        files = tuple(f for f in files if (f.service, f.dataplane) in used)
    if tier is not None or policy is not None:
        made = Build(made.mesh, files, made.wiring)
    return write(made, out, force)


def write(made: Build, out: Path, force: bool = False) -> BuildResult:
    """Writes a build; refuses to overwrite a file that an earlier build did not write, unless forced.

    Nothing is put in place before everything is written, so a full disk leaves what was there.
    """
    earlier = _manifest(out)
    texts = _texts(made)
    if not force:
        for path, text in texts.items():
            if path != MANIFEST or earlier is None:
                _may_write(out / path, text, (earlier or {}).get(path))
    _write_all({out / path: text for path, text in texts.items()})
    for path, digest in (earlier or {}).items():
        if path not in texts and (out / path).is_file() and _digest(out / path) == digest:
            (out / path).unlink()
            _remove_empty((out / path).parent, out)
    return BuildResult(out, tuple(out / f.path for f in made.files))


def _texts(made: Build) -> dict[str, str]:
    """All files of a build."""
    return {f.path: f.text for f in made.files} | {WIRING: made.wiring, MANIFEST: made.manifest()}


def _write_new(made: Build, out: Path) -> None:
    """Writes a build into an empty folder that nobody else looks at yet."""
    try:
        for folder in sorted({out / file.path for file in made.files}, key=str):
            folder.parent.mkdir(parents=True, exist_ok=True)
        for path, text in _texts(made).items():
            (out / path).write_bytes(text.encode())
    except OSError as e:
        raise JobError(f"cannot write {e.filename or out}: {e.strerror}") from None


def _manifest(out: Path) -> dict[str, str] | None:
    """The digests of what an earlier build wrote; None if `out` holds no manifest of ours."""
    try:
        plain = json.loads((out / MANIFEST).read_text("utf-8"))
        digests = {str(a["path"]): str(a["sha256"]) for a in plain["artifacts"]}
        if "wiring" in plain:
            digests[WIRING] = str(plain["wiring"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {path: d for path, d in digests.items() if not path.startswith("/") and ".." not in Path(path).parts}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _may_write(path: Path, text: str, earlier: str | None) -> None:
    shown = relative(str(path))
    try:
        if path.is_symlink() and not path.exists():
            raise JobError(f"{shown} is a link that leads nowhere; --force replaces it")
        if not path.exists() or path.read_bytes() == text.encode() or earlier == _digest(path):
            return
    except OSError as e:
        raise JobError(f"cannot read {shown}: {e.strerror}") from None
    raise JobError(f"{shown} was not written by `m4 build`, or changed since; --force overwrites it")


def _write_all(texts: Mapping[Path, str]) -> None:
    """Writes files beside their places, then puts all of them there."""
    partial: dict[Path, Path] = {}
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".m4-")
            partial[path] = Path(name)
            with os.fdopen(handle, "w", encoding="utf-8") as f:
                f.write(text)
            Path(name).chmod(0o644)
        for path in texts:
            partial[path].replace(path)
            del partial[path]
    except OSError as e:
        raise JobError(f"cannot write {relative(str(path))}: {e.strerror}") from None
    finally:
        for left in partial.values():
            left.unlink(missing_ok=True)


def _remove_empty(folder: Path, top: Path) -> None:
    while folder != top and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


# --- plans ------------------------------------------------------------------------------------------------------------


def plan_json(workspace: Workspace, mesh: str) -> dict[str, Any]:
    """The JSON of the command line's contract."""
    program, plan = planned(workspace, mesh)
    found = journeys(program, plan)
    of_tag, of_marks = found[:1], found[1:]
    return {
        "cost": plan.cost,
        "baseline_cost": plan.baseline_cost,
        "optimal": plan.optimal,
        "elements": [{"service": e.service, "dataplane": e.dataplane} for e in plan.elements],
        "operations": [
            {
                "policy": o.policy,
                "operation": o.operation,
                "hop": [o.hop[0] or "outside", o.hop[1]],
                "side": o.side,
                "service": o.service,
                "dataplane": o.dataplane,
            }
            for o in plan.operations
        ],
        "context": {
            "bits": plan.context.bits,
            "updates": [_stop(s) for s in plan.context.updates],
            "reads": [_stop(s) for s in plan.context.reads],
            "travels": [_ends(hop) for journey in of_tag for hop in journey.along],
            "strips": [_stop(t.at) for journey in of_tag for t in journey.strips],
            "marks": [
                {
                    "mark": str(journey.mark),
                    "tags": list(journey.tags),
                    "writes": [{**_stop(t.at), "policies": list(t.policies)} for t in journey.writes],
                    "travels": [_ends(hop) for hop in journey.along],
                    "reads": [{**_stop(t.at), "policies": list(t.policies)} for t in journey.reads],
                    "strips": [_stop(t.at) for t in journey.strips],
                }
                for journey in of_marks
            ],
        },
    }


def _ends(hop: Hop) -> list[str]:
    return [hop[0] or "outside", hop[1]]


def _stop(stop: Stop) -> dict[str, Any]:
    return {"hop": _ends(stop.hop), "side": stop.side, "service": stop.service, "dataplane": stop.dataplane}


def plan_text(workspace: Workspace, mesh: str) -> str:
    """The plan as people read it."""
    program, plan = planned(workspace, mesh)
    return describe(program, plan)


def describe(program: Program, plan: Plan) -> str:
    """A plan as people read it: each element with what it runs, then what needs nothing."""
    lines = [
        f"mesh {program.mesh.name}: {counted(len(plan.elements), 'element')} for {len(program.graph.services)} services"
    ]
    share = min(100 - 100 * plan.cost // plan.baseline_cost, 99 if plan.cost else 100) if plan.baseline_cost else 0
    saved = f", so this is {share}% less" if plan.baseline_cost else ""
    proof = "proven optimal" if plan.optimal else f"within {plan.gap:.1%} of the optimum"
    lines.append(f"cost {plan.cost} ({proof}); a sidecar everywhere would cost {plan.baseline_cost}{saved}")
    if plan.runs:
        lines.append(f"one wherever a policy matches would cost {where_policies_match(program, plan)}")
    unrated = [c for c in program.graph.calls if c.rps is None]
    if 0 < len(unrated) < len(program.graph.calls) and any(d.cost.more for d in program.dataplanes.values()):
        lines.append(f"the graph has no rate for {counted(len(unrated), 'call')}, whose requests are not in the costs")
    for element in plan.elements:
        here = (element.service, element.dataplane)
        lines.append(f"\n{element.service}: {element.dataplane}")
        runs = {
            f"    {o.policy}: {o.operation} at {o.side} of {shown(o.hop)}": None
            for o in plan.operations
            if (o.service, o.dataplane) == here
        }
        lines += runs
        updates = [s for s in plan.context.updates if (s.service, s.dataplane) == here]
        if updates:
            lines.append(f"    keeps the context on {counted(len(updates), 'hop')}")
    nothing = sorted(set(program.graph.services) - {e.service for e in plan.elements})
    if nothing:
        lines.append(f"\nnothing is needed at {', '.join(nothing)}")
    if plan.context.bits:
        marks = sorted({str(w.attr) for run in plan.runs for w in run.rule.marks})
        what = " and ".join(["call paths", *marks])
        lines.append(f"{what} are told apart by a context tag of {counted(plan.context.bits, 'bit')}")
        for journey in journeys(program, plan):
            if journey.mark is not None:
                lines.append(f"    {journey.mark}")
            indent = "    " if journey.mark is None else "        "
            lines += [indent + line for line in said_of(journey, plan.context.bits)]
    return "\n".join(lines) + "\n"


# --- deployments ------------------------------------------------------------------------------------------------------


def state_dir(workspace: Workspace, mesh: str) -> Path:
    """Where a local deployment of this workspace's mesh keeps its state: below the user's state folder."""
    return state_of(workspace.paths, mesh)


def state_of(paths: Sequence[Path], mesh: str) -> Path:
    """As `state_dir`, by the absolute paths of a workspace."""
    base = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    where = hashlib.sha256("\n".join(p.as_posix() for p in paths).encode()).hexdigest()[:12]
    return Path(base, "m4", f"{mesh}-{where}")


class Targets(Protocol):
    """What the plugin `targets` provides. A state folder is where a deployment keeps what it must remember."""

    @property
    def DeployError(self) -> type[Exception]:
        """Its first line says what is wrong; the rest is what a tool said, and a way out. It has a field `changed`, and
        `words` if a dataplane refuses its artifacts: what it says of them."""

    def unavailable(self, dataplanes: Iterable[str]) -> dict[str, str]: ...

    def examine(self, dataplanes: Iterable[str]) -> list[tuple[str, bool, list[str]]]: ...

    def running(self, target: str, state: Path, output: Path | None) -> Path | None: ...

    def validate(self, target: str, built: Path, progress: Progress) -> Mapping[str, str]: ...

    def verdicts(self, built: Path) -> Iterator[tuple[str, str, str | None]]: ...

    def deploy(self, target: str, built: Path, state: Path, output: Path | None, progress: Progress) -> str:
        """The folder `built` may be gone then."""

    def undeploy(self, state: Path) -> bool: ...

    def status(self, state: Path) -> tuple[bool, str]: ...

    def top(self, state: Path, *, once: bool, as_json: bool, interval: float) -> bool: ...

    def watch(self, state: Path) -> Watch: ...


class Watch(Protocol):
    """Looks at a deployment again and again; may be used in one thread at a time."""

    def look(self) -> dict[str, Any]: ...


def provided() -> Targets:
    """The targets; a usage error if none are installed."""
    found: Targets = plugin("targets", "deployment")
    return found


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is to be deployed, and where to; nothing was changed yet. `lacking`: dataplanes that this machine cannot
    run, with the reason. `plan`: in words."""

    mesh: str
    target: str
    state: Path
    output: Path | None
    made: Build
    lacking: Mapping[str, str]
    plan: str


def prepare(
    workspace: Workspace, mesh: str, target: str, output: Path | None = None, base_port: int = BASE_PORT
) -> Prepared:
    """Plans and builds."""
    lacking = unavailable(workspace, mesh) if target == "local" else {}
    try:
        made = rendered(workspace, mesh, base_port, frozenset(lacking))
    except JobError as e:
        raise JobError("\n".join((str(e), *(f"without {name}: {why}" for name, why in lacking.items())))) from None
    plan = describe(*(without(workspace, mesh, frozenset(lacking)) if lacking else planned(workspace, mesh)))
    return Prepared(mesh, target, state_dir(workspace, mesh), output, made, lacking, plan)


def put(prepared: Prepared, progress: Progress) -> DeployResult:
    """Deploys what was prepared. A failure leaves what ran before as it was."""
    targets = provided()
    for name, reason in prepared.lacking.items():
        progress(f"without {name}: {reason}", 0.0)
    with tempfile.TemporaryDirectory(prefix="m4-build-") as temporary:
        built = Path(temporary)
        _write_new(prepared.made, built)
        try:
            text = targets.deploy(prepared.target, built, prepared.state, prepared.output, progress)
        except targets.DeployError as e:
            message, rest = said(e)
            changed = "" if getattr(e, "changed", False) else ", nothing changed"
            return DeployResult(False, f"not deployed{changed}: {message}", rest, is_refusal(e))
    notes = "".join(f"without {name}: {reason}\n" for name, reason in prepared.lacking.items())
    return DeployResult(True, f"mesh `{prepared.mesh}` is deployed to `{prepared.target}`", notes + text)


def unavailable(workspace: Workspace, mesh: str) -> dict[str, str]:
    """The dataplanes of a mesh that this machine cannot run, with the reason: others do their work then. Proxies are
    among them only if another one is left; else starting one says what it lacks."""
    program, _ = planned(workspace, mesh)
    lacking = provided().unavailable(program.dataplanes)
    proxies = {d.name for d in program.dataplanes.values() if d.tier == "proxy"}
    if proxies <= lacking.keys():
        return {name: reason for name, reason in lacking.items() if proxies and name not in proxies}
    return lacking


def is_refusal(error: Exception) -> bool:
    """Whether a deployment's error is that a dataplane does not take its artifacts."""
    return bool(getattr(error, "words", ""))


def said(error: Exception) -> tuple[str, str]:
    """The first line of a deployment's error, and the rest."""
    first, _, rest = str(error).partition("\n")
    return first, rest


def undeploy(workspace: Workspace, mesh: str) -> DeployResult:
    """Stops a local deployment; one that is not there is no error."""
    targets = provided()
    try:
        stopped = targets.undeploy(state_dir(workspace, mesh))
    except targets.DeployError as e:
        return DeployResult(False, *said(e))
    return DeployResult(True, f"mesh `{mesh}` is {'stopped' if stopped else 'not deployed'}", "")


def status(workspace: Workspace, mesh: str) -> DeployResult:
    """What is deployed; `ok` if all of it lives."""
    targets = provided()
    try:
        healthy, text = targets.status(state_dir(workspace, mesh))
    except targets.DeployError as e:
        return DeployResult(False, *said(e))
    return DeployResult(healthy, "", text)
