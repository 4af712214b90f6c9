"""The targets by name, as `m4 deploy` and the language server use them: plain arguments in, text for people out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from m4deploy.errors import DeployError, Rejected

Progress = Callable[[str, float], None]

__all__ = [
    "DeployError",
    "deploy",
    "examine",
    "running",
    "status",
    "top",
    "unavailable",
    "undeploy",
    "validate",
    "verdicts",
    "watch",
]

if TYPE_CHECKING:  # what the command line expects of this module
    from m4c.cli.jobs import Targets

    from m4deploy import targets
    from m4deploy.built import Element
    from m4deploy.drivers.base import Validate
    from m4deploy.top import Watch

    _provided: Targets = targets


_available: set[str] = set()


def unavailable(dataplanes: Iterable[str]) -> dict[str, str]:
    """The dataplanes that this machine cannot run, each with the reason. One that it can run is not looked for again by
    the same process: that takes time, and whoever deploys edits would wait for it each time."""
    from m4deploy.drivers import driver

    out = {}
    for name in dataplanes:
        if name in _available:
            continue
        try:
            driver(name)
            _available.add(name)
        except DeployError as error:
            out[name] = " ".join((error.message, *error.detail.split("\n"))).strip()
    return out


def examine(dataplanes: Iterable[str]) -> list[tuple[str, bool, list[str]]]:
    """Whether this machine can run each, and in lines why not and what to do, or what to know even so."""
    from m4deploy.drivers import driver

    out = []
    for name in dataplanes:
        try:
            out.append((name, True, list(driver(name).notes)))
        except DeployError as error:
            said = (error.message, error.detail, error.hint)
            out.append((name, False, [line for part in said for line in (part or "").splitlines()]))
    return out


def running(target: str, state: Path, output: Path | None) -> Path | None:
    """The built folder that is in force at a target; None if nothing is. Raises DeployError for what is no target."""
    if target == "directory":
        from m4deploy import directory

        return directory.current(_folder(output))
    if target != "local":
        raise _unknown(target)
    from m4deploy import local

    found = local.current(state)
    return found.built.folder if found is not None else None


def validate(target: str, built: Path, progress: Progress) -> dict[str, str]:
    """Has each dataplane validate what it would get, and changes nothing. Raises DeployError. A folder is for other
    machines, so what this one cannot run is not validated for it: which dataplanes that are, each with the reason."""
    from m4deploy.built import read_built
    from m4deploy.drivers import driver

    elements = read_built(built).elements
    names = sorted({e.dataplane for e in elements})
    skipped = unavailable(names) if target == "directory" else {}
    drivers = {name: driver(name) for name in names if name not in skipped}
    mine = [e for e in elements if e.dataplane in drivers]
    for number, element in enumerate(mine):
        progress(f"Validating {element}", number / len(mine))
        with tempfile.TemporaryDirectory(prefix="m4-validate-") as folder:
            drivers[element.dataplane].validate(element, Path(folder))
    return skipped


def verdicts(built: Path) -> Iterator[tuple[str, str, str | None]]:
    """What the dataplanes say of the elements in a built folder: dataplane, service, and why it does not take what it
    would get, in its own words; None if it takes it. Nothing of those that are not installed."""
    from m4deploy.built import read_built
    from m4deploy.drivers import validator

    asked: dict[str, Validate | None] = {}
    for element in read_built(built).elements:
        if element.dataplane not in asked:
            try:
                asked[element.dataplane] = validator(element.dataplane)
            except DeployError:
                asked[element.dataplane] = None
        validate = asked[element.dataplane]
        if validate is None:
            continue
        with tempfile.TemporaryDirectory(prefix="m4-validate-") as folder:
            words = _words(validate, element, Path(folder))
        yield element.dataplane, element.service, words


def _words(validate: Validate, element: Element, folder: Path) -> str | None:
    try:
        validate(element, folder)
    except Rejected as error:
        words = error.words
        for file in element.files.values():
            words = words.replace(str(file), file.name)
        return words
    except DeployError as error:
        return error.message
    return None


def _folder(output: Path | None) -> Path:
    if output is None:
        raise DeployError("The target `directory` needs a folder.")
    return output


def _unknown(target: str) -> DeployError:
    return DeployError(f"There is no target `{target}`.", hint="The targets are `local` and `directory`.")


def deploy(target: str, built: Path, state: Path, output: Path | None, progress: Progress) -> str:
    """Deploys a built folder, which may be gone then; returns what to tell the user. Raises DeployError, which says if
    anything changed."""
    if target == "directory":
        from m4deploy import directory

        folder = _folder(output)
        directory.current(folder)
        skipped = validate(target, built, progress)
        directory.deploy(built, folder)
        notes = [f"not validated, as {name} cannot run here: {reason}\n" for name, reason in sorted(skipped.items())]
        return "".join((*notes, f"The artifacts are in {output}.\n"))
    if target != "local":
        raise _unknown(target)
    from m4deploy import local

    local.deploy(built, state, progress, take=True)
    return status(state)[1]


def undeploy(state: Path) -> bool:
    """Stops a local deployment; False if there was none."""
    from m4deploy import local

    return local.undeploy(state)


def top(state: Path, *, once: bool, as_json: bool, interval: float) -> bool:
    """Shows live counts until it is interrupted, or once; False if nothing is deployed. Raises DeployError."""
    from m4deploy.top import show

    return show(state, once=once, as_json=as_json, interval=interval)


def watch(state: Path) -> Watch:
    """Looks at a local deployment, now and later."""
    from m4deploy.top import Watch

    return Watch(state)


def status(state: Path) -> tuple[bool, str]:
    """Whether all of it lives that should, and what runs, one line an element. Raises DeployError."""
    from m4deploy import local

    found = local.status(state)
    if found is None:
        return True, "nothing is deployed\n"
    lines = [f"mesh {found['mesh']}: {'healthy' if found['healthy'] else 'NOT healthy'}"]
    for element in found["elements"]:
        lines.append(f"  {element['dataplane']} at {element['service']} ({element['tier']})")
        for site, counters in element["counters"].items():
            counted = ", ".join(f"{name} {count}" for name, count in counters.items() if count)
            if counted:
                lines.append(f"      {site}: {counted}")
        lines += [f"      counter {name}: {count}" for name, count in sorted(element["tallies"].items())]
    dead = [p for p in found["processes"] if not p["alive"]]
    lines.append(f"  {len(found['processes'])} processes" + (f", {len(dead)} of them dead" if dead else ""))
    lines += [f"      dead: {p['what']} (process {p['pid']})" for p in dead]
    current = local.current(state)
    services = current.built.services if current else {}
    for name in sorted(services):
        lines += [f"  {name} takes requests at http://{address}/" for address in services[name]["entry"]]
    return bool(found["healthy"]), "\n".join(lines) + "\n"
