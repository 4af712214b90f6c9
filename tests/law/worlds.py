"""Meshes for the law, as people would write them: a graph and policies as text, and requests along its paths.

A mesh is of several parts that do not call each other, so that one deployment tries many small meshes at once. What
`tests/law/draws.py` draws may contradict itself, or may be more than the dataplanes can do: `sound` leaves out policies
until nothing is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

from m4c.diagnostics.registry import Severity, rule
from m4c.resources import shipped_specs
from m4c.workspace import Workspace
from m4deploy.proof import Request
from m4deploy.targets import unavailable

COUNTERS = ("hits", "points")


@dataclass(frozen=True, slots=True)
class Part:
    """A small mesh: its services with their settings, its calls, its policies by name, a default, if any, and states of
    its own."""

    services: dict[str, str]
    calls: tuple[tuple[str, str], ...]
    policies: dict[str, str]
    default: str = ""
    states: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class World:
    """A mesh of several parts, enforced by some dataplanes; and requests to be sent along each call path."""

    parts: tuple[Part, ...]
    dataplanes: tuple[str, ...]
    requests: tuple[Request, ...]

    def write(self, folder: Path) -> None:
        """Writes the mesh into a folder, as a workspace."""
        services = {name: text for part in self.parts for name, text in part.services.items()}
        calls = [call for part in self.parts for call in part.calls]
        lines = ["services:", *(f"  {name}: {{{text}}}" for name, text in services.items())]
        lines += ["calls:", *(f"  - [{a}, {b}]" for a, b in calls)] if calls else []
        (folder / "graph.yaml").write_text("\n".join(lines) + "\n")
        defaults = "".join(f"    {part.default}\n" for part in self.parts if part.default)
        mesh = f'mesh law {{\n    graph "graph.yaml";\n    dataplanes {", ".join(self.dataplanes)};\n{defaults}}}\n'
        (folder / "mesh.m4").write_text(mesh)
        policies = "\n".join(text for part in self.parts for text in part.policies.values())
        states = [f"state Counter {name};" for name in COUNTERS] + [text for p in self.parts for text in p.states]
        (folder / "policies.m4").write_text("\n".join((*states, "", policies)))

    def without(self, names: set[str]) -> World:
        """The world without some policies, and without what others say of them."""

        def kept(text: str) -> str:
            return "".join(line for line in text.splitlines(True) if line.strip() not in said)

        said = {f"overrides {name}" for name in names}
        parts = (
            replace(part, policies={n: kept(text) for n, text in part.policies.items() if n not in names})
            for part in self.parts
        )
        return replace(self, parts=tuple(parts))

    def lenient(self) -> World:
        """The world without defaults: a dataplane may not be everywhere where they hold."""
        return replace(self, parts=tuple(replace(part, default="") for part in self.parts))


def sound(world: World, folder: Path) -> tuple[World, Workspace]:
    """The world without the policies of which something is wrong, written into a folder, and opened."""
    while True:
        world.write(folder)
        workspace = Workspace([folder])
        problems = workspace.problems()
        wrong = [p for p in problems if rule(p.code).severity == Severity.ERROR or p.code == "unenforceable"]
        if not wrong:
            return world, workspace
        names = {p.policies[-1] for p in wrong if p.policies}
        smaller = world.without(names) if names else world.lenient()
        if smaller == world:
            raise AssertionError(f"a world that no policy makes wrong: {wrong[0].message}")
        world = smaller


def dataplane_sets() -> tuple[tuple[tuple[str, ...], ...], dict[str, str]]:
    """The sets of shipped dataplanes that meshes are enforced by: all that this machine can run, each two, and each
    alone; and those that it cannot, with the reasons."""
    names = sorted(shipped_specs().keys() - {"core"})
    lacking = unavailable(names)
    here = tuple(name for name in names if name not in lacking)
    return tuple(dict.fromkeys((here, *combinations(here, 2), *combinations(here, 1)))), lacking
