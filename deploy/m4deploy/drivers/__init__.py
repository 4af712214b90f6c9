"""The drivers, by the name of their dataplane."""

from __future__ import annotations

from pathlib import Path

from m4deploy.drivers.base import Driver, Validate
from m4deploy.errors import DeployError


def driver(dataplane: str, run: Path | None = None) -> Driver:
    """The driver of a dataplane. Its module is imported only now: a mesh without it needs nothing of it. `run`: the
    folder in which a deployment keeps what it has beside its files."""
    match dataplane:
        case "envoy":
            from m4deploy.drivers.envoy import EnvoyDriver

            return EnvoyDriver(run)
        case "haproxy":
            from m4deploy.drivers.haproxy import HaproxyDriver

            return HaproxyDriver()
        case "ebpf":
            from m4deploy.drivers.kernel import KernelDriver

            return KernelDriver()
    raise DeployError(
        f"There is no driver for the dataplane {dataplane}, so it cannot run on this machine.",
        hint="Deploy to a folder with --target directory, or leave the dataplane out of the mesh's `dataplanes`.",
    )


def validator(dataplane: str) -> Validate:
    """What says whether a dataplane takes the files of an element, which needs less than running it. Raises
    DeployError where it is not installed."""
    if dataplane == "ebpf":
        from m4deploy.drivers.kernel import Compiler

        compiler = Compiler()
        compiler.probe()
        return compiler.compile
    return driver(dataplane).validate
