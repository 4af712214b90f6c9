"""`m4 doctor` says of every dataplane that ships whether it can run here, and if not, why and what to do."""

from __future__ import annotations

import m4bpf
import pytest
from cli_kit import m4
from m4deploy import targets
from m4deploy.drivers.kernel import NO_KERNEL
from m4deploy.errors import DeployError


def test_each_that_ships_has_its_word() -> None:
    done = m4("doctor")
    found = {line.split(":")[0]: line.split(": ")[1] for line in done.out.splitlines() if not line.startswith(" ")}
    assert set(found) == {"ebpf", "envoy", "haproxy"}
    assert set(found.values()) <= {"ready", "cannot run here"}
    assert done.code == ("cannot run here" in found.values())
    lacking = targets.unavailable(found)
    assert {name for name, said in found.items() if said != "ready"} == set(lacking)


def test_what_the_probe_says_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(m4bpf, "probe", lambda: m4bpf.Probe(False, ("no clang: install it", "no cgroups: mount them")))
    done = m4("doctor", "ebpf")
    assert done.code == 1
    assert done.out.splitlines() == [
        "ebpf: cannot run here",
        "    This machine cannot run the kernel dataplane.",
        "    no clang: install it",
        "    no cgroups: mount them",
        f"    {NO_KERNEL}",
    ]
    monkeypatch.setattr(m4bpf, "probe", lambda: m4bpf.Probe(True, (), ("mind the sockets",)))
    assert m4("doctor", "ebpf").out == "ebpf: ready\n    mind the sockets\n"


def test_a_name_that_is_none() -> None:
    done = m4("doctor", "istio")
    assert (done.code, done.out) == (2, "")
    assert "no dataplane that ships is called `istio`; there are ebpf, envoy, haproxy" in done.err


def test_an_error_without_more_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> object:
        raise DeployError(f"{name} is not there.")

    monkeypatch.setattr("m4deploy.drivers.driver", none)
    assert targets.examine(["envoy"]) == [("envoy", False, ["envoy is not there."])]
