"""Every page is run: programs are checked, sessions are executed and compared, links are followed.

```m4, ```yaml, ```toml …     a first line `// file: NAME` or `# file: NAME` writes the block to that file; later
                              blocks and commands of the page see it
```m4                         the workspace with it has no error and no warning. `m4 wrong`: it has one. A block
                              without a file is looked at by itself, beside the files of the page. `m4 outline`: its
                              specs name templates that the page shows later, or never: only these are missing, and
                              empty ones are there from then on
```console                    `$ command` and what it prints, in page order; `…` stands for any text
```sh                         commands that are shown only: shell syntax, and targets of the Makefile
```text                       pictures and excerpts: free
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import jinja2
import pytest
import yaml
from m4c.diagnostics.registry import Severity, rule
from m4c.workspace import Workspace
from pages import Block, anchors, blocks, links, make_targets, pattern_of, session
from ports import free_base

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    p
    for p in sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
    if "diagnostics" not in p.parts
]
GENERATED = sorted((ROOT / "docs/diagnostics").glob("*.md"))
READMES = [ROOT / "vscode-extension/README.md", ROOT / "editors/neovim/README.md"]
SHOWN_PORT = 20000  # the default base port, which the pages show; the tests take another
PORTS = 100


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def is_local_deployment(command: str) -> bool:
    return command.startswith("m4 deploy") and "--target directory" not in command


class Scratch:
    """A folder in which a page is followed, with the project's commands on the PATH and `examples/` as in a clone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "scratch"
        self.folder.mkdir()
        (self.folder / "examples").symlink_to(ROOT / "examples")
        self.env = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "XDG_STATE_HOME": str(folder / "state"),
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
        }
        self.base = free_base(PORTS)
        self.deployments: list[str] = []

    def problems(self) -> list[str]:
        """The codes of the errors and warnings."""
        problems = Workspace([self.folder]).problems()
        return [p.code for p in problems if rule(p.code).severity <= Severity.WARNING]

    def write_templates(self) -> None:
        """Writes an empty template wherever a spec names one that is not there."""
        workspace = Workspace([self.folder])
        for p in workspace.problems():
            span = workspace.span(p.place)
            template = workspace.text(span.file)[span.start + 1 : span.end - 1]
            Path(span.file).with_name(template).touch()

    def moved(self, text: str) -> str:
        """With the ports that this run uses in place of those that are shown."""
        return re.sub(rf"(?<=127\.0\.0\.1:){SHOWN_PORT // PORTS}(\d\d)\b", lambda m: str(self.base + int(m[1])), text)

    def run(self, command: str) -> tuple[int, str]:
        if is_local_deployment(command):
            self.deployments.append(command.replace("m4 deploy", "m4 undeploy", 1))
            command += f" --base-port {self.base}"
        done = subprocess.run(
            ["bash", "-c", self.moved(command)],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def end(self) -> None:
        """Takes away what a page that fails half-way has deployed."""
        for command in self.deployments:
            self.run(command)


def follow(page: Path, scratch: Scratch) -> None:
    targets = make_targets(ROOT / "Makefile")
    for block in blocks(page.read_text("utf-8")):
        where = f"{name(page)}:{block.line}"
        if block.file is not None:
            path = scratch.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
        match block.language:
            case "m4":
                check_program(block, scratch, where)
            case "console":
                for command in session(block.text):
                    check_command(command.text, command.output, scratch, targets, where)
            case "sh":
                assert subprocess.run(["bash", "-n"], input=block.text, text=True, check=False).returncode == 0, where
                assert set(re.findall(r"^make ([\w-]+)", block.text, re.M)) <= targets, where
            case "json":
                json.loads(block.text)
            case "yaml":
                list(yaml.safe_load_all(block.text))
            case "toml":
                tomllib.loads(block.text)
            case "python":
                compile(block.text, where, "exec")
            case "jinja":
                jinja2.Environment().parse(block.text)
            case "lua":
                check_lua(block.text, scratch, where)
            case "text":
                pass
            case other:
                raise AssertionError(f"{where}: nothing checks a block of `{other}`")


def check_program(block: Block, scratch: Scratch, where: str) -> None:
    alone = scratch.folder / "block.m4"
    if block.file is None:
        alone.write_text(block.text, "utf-8")
    found = scratch.problems()
    if "outline" in block.flags:
        assert set(found) == {"missing-file"}, f"{where}: {found}"
        scratch.write_templates()
        found = scratch.problems()
    alone.unlink(missing_ok=True)
    assert bool(found) == ("wrong" in block.flags), f"{where}: {found}"


def check_command(command: str, output: str, scratch: Scratch, targets: set[str], where: str) -> None:
    made = re.match(r"make ([\w-]+)", command)
    if made is not None:
        assert made[1] in targets, f"{where}: the Makefile has no target {made[1]}"
        return
    if is_local_deployment(command):
        from m4bpf import probe

        found = probe()
        if not found.ok:
            pytest.skip(f"{where}: the rest of the page needs programs in the kernel: {'; '.join(found.reasons)}")
    code, printed = scratch.run(command)
    said = scratch.moved(output)
    assert "Traceback" not in printed, f"{where}: {command}\n{printed}"
    assert code in (0, 1), f"{where}: {command}\n{printed}"
    if output.strip():
        if pattern_of(said).fullmatch(f"{printed.rstrip()}\n") is None:
            pytest.fail(f"{where}: {command}\n{printed}--- said:\n{said}", pytrace=False)
    else:
        assert (code, printed) == (0, ""), f"{where}: {command}\n{printed}"


def check_lua(text: str, scratch: Scratch, where: str) -> None:
    neovim = shutil.which("nvim", path=scratch.env["PATH"])
    if neovim is None:
        pytest.skip(f"{where}: no Neovim to read Lua with")
    source = scratch.folder / "block.lua"
    source.write_text(text, "utf-8")
    command = [neovim, "--clean", "--headless", "-c", f"lua assert(loadfile({str(source)!r}))", "-c", "quit"]
    done = subprocess.run(command, env=scratch.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), where


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    try:
        follow(page, scratch)
    finally:
        scratch.end()


@pytest.mark.parametrize("page", [*PAGES, *GENERATED, *READMES], ids=name)
def test_links_resolve(page: Path) -> None:
    text = page.read_text("utf-8")
    broken = []
    for link in links(text):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = page.parent / target if target else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text("utf-8"))):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached() -> None:
    """From the README, by links."""
    seen: set[Path] = set()
    queue = [ROOT / "README.md"]
    while queue:
        page = queue.pop().resolve()
        if page in seen or page.suffix != ".md" or not page.is_file():
            continue
        seen.add(page)
        queue += [page.parent / link.partition("#")[0] for link in links(page.read_text("utf-8")) if ":" not in link]
    assert [name(p) for p in (*PAGES, *GENERATED) if p not in seen] == []


def test_pictures_are_shown_and_light() -> None:
    linked = [(p.parent / link).resolve() for p in PAGES for link in links(p.read_text("utf-8"))]
    shown = {file for file in linked if file.suffix in (".png", ".svg")}
    assert shown == set((ROOT / "docs/images").iterdir())
    assert [name(p) for p in shown if p.stat().st_size > 150_000] == []


def test_the_matcher_tells_outputs_apart() -> None:
    said = pattern_of("cost … (proven)\n…\nlast\n")
    assert said.fullmatch("cost 12 (proven)\nlast\n")
    assert said.fullmatch("cost 12 (proven)  \na\n\nb\nlast\n")
    assert not said.fullmatch("cost 12\nlast\n")
    assert not said.fullmatch("cost 12 (proven)\nlast\nmore\n")


def test_the_command_line_is_documented() -> None:
    """Each command that `m4 --help` names stands in the README's table."""
    done = subprocess.run([sys.executable, "-m", "m4c.cli.main", "--help"], capture_output=True, text=True, check=True)
    commands = re.findall(r"^    ([a-z]+) ", done.stdout, re.M)
    readme = (ROOT / "README.md").read_text("utf-8")
    assert commands
    assert [c for c in commands if f"| `m4 {c}" not in readme] == []
