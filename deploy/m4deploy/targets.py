"""The targets by name, as `m4 deploy` and the language server use them: plain arguments in, text for people out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from m4deploy.errors import DeployError

Progress = Callable[[str, float], None]

__all__ = ["DeployError", "deploy", "status", "unavailable", "undeploy"]

if TYPE_CHECKING:  # what the command line expects of this module
    from m4c.cli.jobs import Targets

    from m4deploy import targets

    _provided: Targets = targets


def unavailable(dataplanes: Iterable[str]) -> dict[str, str]:
    """The dataplanes that this machine cannot run, each with the reason."""
    from m4deploy.drivers import driver

    out = {}
    for name in dataplanes:
        try:
            driver(name)
        except DeployError as error:
            out[name] = " ".join((error.message, *error.detail.split("\n"))).strip()
    return out


def deploy(target: str, built: Path, state: Path, output: Path | None, progress: Progress) -> str:
    """Deploys a built folder; returns what to tell the user. Raises DeployError, which says if anything changed."""
    if target == "directory":
        from m4deploy import directory

        if output is None:
            raise DeployError("The target `directory` needs a folder.")
        directory.deploy(built, output)
        return f"The artifacts are in {output}.\n"
    if target != "local":
        raise DeployError(f"There is no target `{target}`.", hint="The targets are `local` and `directory`.")
    from m4deploy import local

    local.deploy(built, state, progress)
    return status(state)[1]


def undeploy(state: Path) -> bool:
    """Stops a local deployment; False if there was none."""
    from m4deploy import local

    return local.undeploy(state)


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
    dead = [p for p in found["processes"] if not p["alive"]]
    lines.append(f"  {len(found['processes'])} processes" + (f", {len(dead)} of them dead" if dead else ""))
    lines += [f"      dead: {p['what']} (process {p['pid']})" for p in dead]
    current = local.current(state)
    services = current.built.services if current else {}
    for name in sorted(services):
        lines += [f"  {name} takes requests at http://{address}/" for address in services[name]["entry"]]
    return bool(found["healthy"]), "\n".join(lines) + "\n"
