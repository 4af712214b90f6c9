"""The kernel dataplane: probe the machine, compile generated programs, put them in force for a cgroup."""

from __future__ import annotations

from m4bpf._errors import KernelError
from m4bpf.attach import Attached, Refusal, Replacement, attach
from m4bpf.build import compile_program, include_dir, only_bcc
from m4bpf.cgroup import cgroup_root, enter_cgroup, make_cgroup, remove_cgroup
from m4bpf.layout import Limits, check
from m4bpf.loaded import limits_of
from m4bpf.probe import Probe, probe

__all__ = [
    "Attached",
    "KernelError",
    "Limits",
    "Probe",
    "Refusal",
    "Replacement",
    "attach",
    "cgroup_root",
    "check",
    "compile_program",
    "enter_cgroup",
    "include_dir",
    "limits_of",
    "make_cgroup",
    "only_bcc",
    "probe",
    "remove_cgroup",
]
