"""Runs `m4` for the tests of the command line: in this process, which is fast, or as a process of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from m4c.cli.main import main
from referencing import Registry
from referencing.jsonschema import DRAFT202012

ROOT = Path(__file__).resolve().parents[2]
BOUTIQUE = ROOT / "examples/online-boutique"
CONFLICT = ROOT / "examples/online-boutique-conflict"
GRAPH = """\
services:
  web: {entry: true, origin: false}
  cart: {origin: false}
  db: {origin: false, versions: [v1, v2]}
calls:
  - [web, cart]
  - [cart, db]
"""
MESH = """\
mesh shop {
    graph "graph.yaml";
    dataplanes ebpf, envoy;
}
"""
CLASH = (
    'policy one (HttpRequest r) on web -> cart when r.header["x-a"] == "b" { r.SetHeader("x-from", "web"); }\n'
    'policy two (HttpRequest r) on * -> cart { r.SetHeader("X-From", "shop"); }\n'
)


@dataclass(frozen=True, slots=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def checked(done: Done) -> Done:
    """What holds for every command, whatever it was given."""
    for text in (done.out, done.err):
        assert "Traceback" not in text, text
        assert "bug in M4" not in text, text
    assert done.code in (0, 1, 2), done
    if done.code == 2:
        assert done.err, "a command that cannot run says why"
    return done


def m4(*args: str | Path, cwd: Path | None = None) -> Done:
    """Runs a command in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(cwd or Path.cwd()):
        code = main([str(a) for a in args])
    texts = (stream.buffer.getvalue().decode("utf-8") for stream in (out, err))  # type: ignore[attr-defined]
    return checked(Done(code, *texts))


def environment(**changes: str | None) -> dict[str, str]:
    """This process's environment, changed; None takes a variable away."""
    env = {**os.environ, "PYTHONUNBUFFERED": None, "NO_COLOR": None, "M4_TRACEBACK": None, **changes}
    return {k: v for k, v in env.items() if v is not None}


def command(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "m4c.cli.main", *map(str, args)]


def process(
    *args: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, stdout: Any = subprocess.PIPE
) -> Done:
    """Runs a command as a process, as people do."""
    done = subprocess.run(
        command(*args), cwd=cwd, env=env or environment(), stdout=stdout, stderr=subprocess.PIPE, check=False
    )
    return checked(Done(done.returncode, (done.stdout or b"").decode("utf-8"), done.stderr.decode("utf-8")))


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Writes files below a folder, byte for byte."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return folder


def shop(folder: Path, policies: str | bytes = "", **more: str | bytes) -> Path:
    """A small workspace: a mesh, its graph, and policies."""
    files: dict[str, str | bytes] = {"graph.yaml": GRAPH, "shop.m4": MESH, "policies.m4": policies}
    return write(folder, {**files, **more})


def errors(folder: Path) -> list[tuple[str, str, int]]:
    """(code, file, line from 1) of each error and warning that `m4 check` reports, in its order."""
    found = m4("check", folder, "--format", "json").json["diagnostics"]
    return [
        (d["code"], Path(d["file"]).name, d["range"]["start"]["line"] + 1)
        for d in found
        if d["severity"] in ("error", "warning")
    ]


def closed(schema: Any) -> Any:
    """A schema that allows no further fields: each one is documented."""
    if isinstance(schema, dict):
        out = {key: closed(value) for key, value in schema.items()}
        return {"additionalProperties": False, **out} if "properties" in out and "type" in out else out
    return [closed(each) for each in schema] if isinstance(schema, list) else schema


def hold(value: Any, name: str) -> Any:
    """Holds an output to its schema, and returns it."""
    folder = Path(__file__).parent if name == "sarif" else ROOT / "docs/schemas"

    def read(file: str) -> Any:
        schema = json.loads((folder / file).read_text("utf-8"))
        Draft202012Validator.check_schema(schema)
        return closed(schema)

    beside: Registry[Any] = Registry(retrieve=lambda file: DRAFT202012.create_resource(read(file)))
    validator = Draft202012Validator(read(f"{name}.schema.json"), registry=beside)
    assert [f"{list(e.absolute_path)}: {e.message}" for e in validator.iter_errors(value)] == []
    return value
