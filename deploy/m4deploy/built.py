"""What `m4 build` wrote, read back: the artifacts of each element, and how the mesh is wired."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m4deploy.errors import DeployError

Policy = tuple[str | None, str, str]  # on a hop: caller, callee, name
MANIFEST, WIRING = "manifest.json", "wiring.json"
BUILD_AGAIN = "Build it again with: m4 build PATH -o OUT"


@dataclass(frozen=True, slots=True)
class Element:
    """One instance of a dataplane at one service, with its files by name."""

    service: str
    dataplane: str
    tier: str  # kernel or proxy
    files: Mapping[str, Path]
    wiring: Mapping[str, Any]  # of its service
    policies: frozenset[Policy] = frozenset()  # that it has to do with

    def file(self, name: str) -> Path:
        if name not in self.files:
            raise DeployError(f"{self} has no file {name}.", hint=BUILD_AGAIN)
        return self.files[name]

    def __str__(self) -> str:
        return f"{self.dataplane} at {self.service}"


@dataclass(frozen=True, slots=True)
class Built:
    """A built mesh. Addresses are "host:port"; `graph` is the service graph as the compiler read it."""

    folder: Path
    mesh: str
    context: Mapping[str, Any]  # {"header", "width"}
    services: Mapping[str, Mapping[str, Any]]  # each one's addresses
    graph: Mapping[str, Any]
    elements: tuple[Element, ...]
    paths: tuple[Path, ...]  # all of its files
    digest: str  # of its manifest

    def addresses(self) -> dict[str, str]:
        """Every address that something of this mesh listens at, and what that is."""
        found: dict[str, str] = {}
        for service, wiring in self.services.items():
            found.update(dict.fromkeys(wiring["app"].values(), f"the application {service}"))
            found.update({listen["address"]: f"the proxy of {service}" for listen in wiring["listen"]})
            if wiring["admin"]:
                found[wiring["admin"]] = f"the administration of the proxy of {service}"
        return found


def read_built(folder: Path) -> Built:
    """Reads a folder that `m4 build` wrote. Raises DeployError if it is none, or was changed since."""
    try:
        listed = (folder / MANIFEST).read_bytes()
        manifest = json.loads(listed)
        wiring = json.loads((folder / WIRING).read_bytes())
        files: dict[tuple[str, str], dict[str, Path]] = {}
        paths = [folder / MANIFEST, folder / WIRING]
        for artifact in manifest["artifacts"]:
            path = folder / artifact["path"]
            if hashlib.sha256(path.read_bytes()).hexdigest() != artifact["sha256"]:
                raise DeployError(f"{path} was changed after it was built.", hint=BUILD_AGAIN)
            paths.append(path)
            files.setdefault((artifact["dataplane"], artifact["service"]), {})[path.name] = path
        services = wiring["services"]
        elements = [
            Element(service, dataplane, e["tier"], files.get((dataplane, service), {}), services[service], policies)
            for e in wiring["elements"]
            for service, dataplane in [(e["service"], e["dataplane"])]
            for policies in [frozenset((caller, callee, policy) for caller, callee, policy in e.get("policies", ()))]
        ]
        about = wiring["mesh"], wiring["context"], services, wiring["graph"]
        return Built(folder, *about, tuple(elements), tuple(paths), hashlib.sha256(listed).hexdigest())
    except FileNotFoundError as missing:
        raise DeployError(f"{missing.filename} does not exist.", hint=BUILD_AGAIN) from missing
    except (OSError, ValueError, KeyError, TypeError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise DeployError(f"{folder} is no folder that m4 build wrote.", detail, BUILD_AGAIN) from error
