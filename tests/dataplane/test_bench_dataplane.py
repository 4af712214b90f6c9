"""The benchmark of the dataplanes measures what it says: its meshes stand, enforce, and answer under load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from load_kit import skip_without_a_stand
from ports import free_base

ROOT = Path(__file__).resolve().parents[2]


def test_a_short_run(tmp_path: Path) -> None:
    skip_without_a_stand()
    out = tmp_path / "dataplane.json"
    options = "--rounds 2 --seconds 0.3 --connections 1,16 --application 2 --stalls 300"
    options += " --only kernel kernel-floor envoy kernel-both kernel-least envoy-mtls"
    command = [sys.executable, "-m", "benchmarks.dataplane", *options.split(), "--out", str(out)]
    command += ["--base-port", str(free_base(2500))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert found["refused"].keys() == {"kernel-both"}
    assert found["refused"]["kernel-both"].startswith("unenforceable: `gone`")
    one = found["samples"]["1 connection, as fast as answers come"]
    assert {arm: len(samples) for arm, samples in one.items()} == dict.fromkeys(
        ("nothing", "control", "kernel", "kernel-floor", "kernel-least", "envoy", "envoy-mtls"), 2
    )
    samples = [s for arms in found["samples"].values() for of in arms.values() for s in of if isinstance(s, dict)]
    assert all(s["requests"] > 0 and s["failed"] == 0 and s["cpu"] > 0 for s in samples)
    assert all(s["p50"] <= s["p99"] <= s["slowest"] for s in samples)
    application = found["samples"]["Online Boutique end to end, 2 connections"]
    assert application.keys() == {"nothing", "control", "plan", "everywhere"}
    assert found["samples"]["stalls"]["kernel"][0] == 300
    verdicts = {v["what"]: v["verdict"] for v in found["goals"]}
    both = [v for v in found["goals"] if v["what"].startswith("kernel at both ends: ")]
    assert [v["verdict"] for v in both] == ["not built"] * 2
    assert all(v["figure"].startswith("at best ") and "docs/kernel.md" in v["why"] for v in both)
    assert verdicts["kernel at the caller: throughput"] in {"holds", "missed", "not claimed"}
    assert "eBPF at the caller" in done.stdout
