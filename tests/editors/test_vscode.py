"""The packaged extension in a real VS Code: code-server, with headless Chromium as its window.

The scenarios are the scripts in `vscode/`; this file packages and installs the extension, starts the server of VS Code
once, and runs each scenario on a fresh workspace. M4_SCREENSHOTS names a folder for a picture of each step.
"""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from editor_tools import beside, missing, undeploy
from live_kit import deployed, prepare, requests_passing, served
from ports import addresses

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TOOLS = ROOT / ".tools"
EXTENSION = ROOT / "vscode-extension"
SEARCH = f"{TOOLS / 'bin'}:{os.environ['PATH']}"
VSCODE = TOOLS / "vscode/node_modules/code-server/lib/vscode/out/server-main.js"
LOG_WRITER = VSCODE.parents[1] / "node_modules/@vscode/spdlog/build/Release/spdlog.node"
# As on a desktop, and only what the screenshots should show.
QUIET = {
    "chat.disableAIFeatures": True,
    "remote.autoForwardPorts": False,
    "editor.minimap.enabled": False,
    "editor.cursorBlinking": "solid",  # a window that changes nothing costs nothing
    "workbench.reduceMotion": "on",
    "files.exclude": {".venv": True, ".vscode": True, "own-server": True},
    "git.enabled": False,
    "files.autoSave": "off",  # as on a desktop; in a browser the default is to save after a second
    "workbench.secondarySideBar.defaultVisibility": "hidden",
}
SECONDS = 300.0  # how long a scenario may take on a busy machine before it is given up


@dataclass(frozen=True, slots=True)
class VsCode:
    """A running VS Code server with the packaged extension, to which scenarios connect."""

    port: int
    chromium: str
    environment: dict[str, str]
    failures: Path  # a folder for pictures of windows that failed

    def run(self, scenario: str, workspace: Path, **variables: str) -> str:
        """Runs a script of `vscode/` and returns what it printed; fails if it failed."""
        environment = {
            **self.environment,
            **variables,
            "VSCODE_PORT": str(self.port),
            "M4_CHROMIUM": self.chromium,
            "M4_TOOLS": str(TOOLS),
            "M4_SCREENSHOTS": os.environ.get("M4_SCREENSHOTS", ""),
            "M4_FAILURES": str(self.failures),
            "M4_WORKSPACE": str(workspace),
        }
        process = subprocess.Popen(
            [TOOLS / "bin/node", HERE / f"vscode/{scenario}.mjs"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            end_session(process)
            output, _ = process.communicate()
            pytest.fail(f"{scenario} did not end\n{output}")
        assert process.returncode == 0, f"{scenario}; a picture is in {self.failures}\n{output}"
        return output


def end_session(process: subprocess.Popen[str]) -> None:
    """Ends a process and everything that it started in its session."""
    for order in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, order)
        except ProcessLookupError:
            return
        end = time.monotonic() + 5
        while time.monotonic() < end:
            process.poll()
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)


def program(file: Path, script: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def tools() -> str:
    """Looks for everything that the tests need and returns the path of Chromium."""
    if not VSCODE.exists() or not (EXTENSION / "node_modules/.installed").exists():
        missing("code-server with the extension's npm packages", "setup-test")
    return shutil.which("chromium") or shutil.which("google-chrome") or missing("Chromium", "setup-test")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension, built and packaged as a user would install it."""
    tools()
    vsix = tmp_path_factory.mktemp("package") / "xmesh-m4.vsix"
    command: list[str | Path] = ["npm", "run", "--silent", "package", "--", "--out", vsix]
    environment = os.environ | {"PATH": SEARCH}
    subprocess.run(command, cwd=EXTENSION, env=environment, check=True, stdout=subprocess.DEVNULL)
    return vsix


@contextmanager
def vscode(folder: Path, server: Path, package: Path, *options: str) -> Iterator[VsCode]:
    """A VS Code server whose every file lies in a folder, and that is gone afterwards with all it started."""
    chromium = tools()
    extensions, pid, data = folder / "extensions", folder / "server.pid", folder / "data"
    # The server under test is known by its process id, so that a scenario can end it.
    wrapper = program(folder / "m4ls", f'echo $$ > "{pid}"\nexec "{server}" "$@"')
    settings = data / "data/Machine/settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"m4.server.path": str(wrapper), **QUIET}))

    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VSCODE_")}
    environment = inherited | {
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "PATH": SEARCH,
        "EXTENSIONS_GALLERY": "{}",  # keeps it off the network
        "M4_EXTENSIONS": str(extensions),
        "M4_DETECT": str(HERE / "detect"),
        "M4_SPECS": str(ROOT / "specs"),
        "M4_SERVER_PID": str(pid),
    }
    port = int(addresses(1)[0].rpartition(":")[2])
    start: list[str | Path] = [TOOLS / "bin/node", VSCODE, "--extensions-dir", extensions, "--server-data-dir", data]
    start += ["--install-extension", package, "--start-server"]
    start += ["--host", "127.0.0.1", "--port", str(port), "--without-connection-token", "--telemetry-level", "off"]
    start += ["--accept-server-license-terms", *options]
    with (folder / "vscode.log").open("w") as log:
        process = subprocess.Popen(
            start,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            wait_until_it_answers(f"http://127.0.0.1:{port}/version", process)
            pictures = Path(os.environ.get("M4_SCREENSHOTS") or folder)
            pictures.mkdir(parents=True, exist_ok=True)
            yield VsCode(port, chromium, environment, pictures)
        finally:
            end_session(process)


@pytest.fixture
def window(tmp_path_factory: pytest.TempPathFactory, server: Path, package: Path) -> Iterator[VsCode]:
    """VS Code as a person has it: it asks whether to trust a folder, and shows notifications."""
    with vscode(tmp_path_factory.mktemp("window"), server, package) as code:
        yield code


@pytest.fixture
def driven(tmp_path_factory: pytest.TempPathFactory, server: Path, package: Path) -> Iterator[VsCode]:
    """VS Code that runs checks inside its extension host; it asks and notifies nobody then."""
    options = ["--enable-smoke-test-driver", "--disable-workspace-trust"]
    with vscode(tmp_path_factory.mktemp("driven"), server, package, *options) as code:
        yield code


def wait_until_it_answers(url: str, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, "the server of VS Code ended"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError(f"no answer from {url}")


def test_providers_and_commands(driven: VsCode, workspace: Path) -> None:
    try:
        output = driven.run("host", workspace)
    finally:
        undeploy(workspace, Path(driven.environment["XDG_STATE_HOME"]))
    assert output.count("ok: ") == (HERE / "vscode/host/checks.cjs").read_text().count('  async "')


def shop(folder: Path) -> Path:
    """A folder with the shop, and with the policy that it is in conflict with."""
    for name in ("online-boutique", "online-boutique-conflict"):
        shutil.copytree(ROOT / "examples" / name, folder / name)
    return folder


def test_window(window: VsCode, server: Path, tmp_path: Path) -> None:
    if not LOG_WRITER.exists():
        missing("the log writer of code-server, without which its Output panel is empty,", "setup-test")
    application = shop(tmp_path / "examples")
    ran = tmp_path / "it-ran"
    for own in (application / ".venv/bin/m4ls", application / "own-server"):
        program(own, f'touch "{ran}"\nexec "{server}" "$@"')
    settings = application / ".vscode/settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"m4.server.path": "${workspaceFolder}/own-server"}))
    silent = program(tmp_path / "silent", 'touch "$0.runs"\nexec cat >/dev/null')
    try:
        window.run("window", application, M4_RAN=str(ran), M4_SILENT=str(silent))
    finally:
        undeploy(application, Path(window.environment["XDG_STATE_HOME"]))


def test_map_page(tmp_path: Path) -> None:
    """The page of `m4 graph show --web` in the same browser, without VS Code."""
    chromium = tools()
    calls = "".join(f"  - [s{number * 7 // 10}, s{number}]\n" for number in range(1, 500))
    services = "".join(f"  s{number}: {{}}\n" for number in range(500))
    (tmp_path / "big.graph.yaml").write_text(f"services:\n{services}calls:\n{calls}")
    for source, page in ((shop(tmp_path / "examples"), "page.html"), (tmp_path / "big.graph.yaml", "big.html")):
        made = [beside("m4"), "graph", "show", source, "--web", tmp_path / page]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    pages = {"M4_PAGE": str(tmp_path / "page.html"), "M4_BIG": str(tmp_path / "big.html")}
    print(VsCode(0, chromium, {**os.environ, "PATH": SEARCH}, tmp_path).run("map", tmp_path, **pages))


def test_map_page_with_live_counts(tmp_path: Path, workspace: Path) -> None:
    """The page of `m4 graph show --serve`, of a real deployment that real requests pass through meanwhile."""
    chromium = tools()
    prepare(workspace)
    with deployed(workspace, tmp_path / "state") as mesh, requests_passing(mesh), served(mesh) as (address, server):
        given = {"M4_ADDRESS": address, "M4_SERVER": str(server)}
        environment = {**os.environ, "PATH": SEARCH, "XDG_STATE_HOME": str(mesh.home)}
        undeploying = json.dumps([str(beside("m4")), "undeploy", str(workspace)])
        print(VsCode(0, chromium, environment, tmp_path).run("live", tmp_path, M4_UNDEPLOY=undeploying, **given))


def test_the_map_of_the_command_line_is_the_one_of_the_extension(package: Path) -> None:
    """`npm run build` writes it to compiler/m4c/web, where it is kept: what is kept is what is built."""
    changed = subprocess.run(
        ["git", "status", "--porcelain", "compiler/m4c/web"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert changed.stdout == "", "commit what `npm run build` has written"
    with zipfile.ZipFile(package) as packed:
        assert packed.read("extension/out/map.js") == (ROOT / "compiler/m4c/web/map.js").read_bytes()
