"""After files are saved the dataplanes themselves say whether they take what they would get: real Envoys, HAProxies and
clang, at the lines of real templates."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_lsp
from lsprotocol import types
from m4deploy.drivers.haproxy import binary
from m4deploy.processes import born
from pytest_lsp import ClientServerConfig, LanguageClient
from session_kit import TRUSTED, begin, quiet
from views_kit import changed, opened, until

ROOT = Path(__file__).resolve().parents[2]
GRAPH = "services:\n  web: {entry: true, origin: false}\n  cart: {origin: false}\ncalls:\n  - [web, cart]\n"
POLICY = 'policy teapot (HttpRequest r) on web -> cart when r.method == "GET" { r.DropRequest(418); }\n'
BIN = Path(tempfile.mkdtemp(prefix="m4-bin-"))  # first on the server's PATH
COMMAND = ["env", f"PATH={BIN}:{os.environ['PATH']}", sys.executable, "-m", "m4ls"]
# HAProxy, which says that it was asked, and takes its time where the configuration says so.
ASKED = """#!/bin/sh
echo "$$" >> "{bin}/asked"
for given in "$@"; do
    if [ -f "$given" ] && grep -q "# SLOW" "$given"; then echo "$$" >> "{bin}/slow"; exec sleep 1000; fi
done
exec "{real}" "$@"
"""


@pytest.fixture(scope="module", autouse=True)
def bin_folder() -> Iterator[None]:
    wrapper = BIN / "haproxy"
    wrapper.write_text(ASKED.format(bin=BIN, real=binary()))
    wrapper.chmod(0o755)
    yield
    shutil.rmtree(BIN)


@pytest.fixture(autouse=True)
def asked() -> Callable[[str], list[int]]:
    """The processes that were asked, or that took their time."""
    for name in ("asked", "slow"):
        (BIN / name).unlink(missing_ok=True)

    def said(name: str) -> list[int]:
        return [int(pid) for pid in (BIN / name).read_text().split()] if (BIN / name).exists() else []

    return said


@pytest_lsp.fixture(config=ClientServerConfig(server_command=COMMAND, client_factory=quiet))
async def client(lsp_client: LanguageClient) -> AsyncIterator[None]:
    """A client that has not begun its session."""
    yield
    if not lsp_client.stopped:
        await lsp_client.shutdown_session()


class Desk:
    """A workspace with a spec of its own that is open in an editor."""

    def __init__(self, client: LanguageClient, folder: Path, dataplane: str) -> None:
        self.client = client
        self.folder = folder / "shop"
        self.spec = self.folder / dataplane
        shutil.copytree(ROOT / "specs" / dataplane, self.spec)
        (self.folder / "graph.yaml").write_text(GRAPH)
        (self.folder / "shop.m4").write_text(
            f'mesh shop {{\n    graph "graph.yaml";\n    dataplanes {dataplane};\n}}\n'
        )
        (self.folder / "policies.m4").write_text(POLICY)

    async def begin(self, options: Any = TRUSTED) -> None:
        await begin(self.client, self.folder, options)

    def save(self, file: Path, old: str, new: str) -> None:
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        event = types.FileEvent(file.as_uri(), types.FileChangeType.Changed)
        self.client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([event]))

    def settings(self, **settings: Any) -> None:
        self.client.workspace_did_change_configuration(types.DidChangeConfigurationParams({"m4": settings}))

    def rejected(self) -> list[tuple[str, types.Diagnostic]]:
        return [
            (uri, d)
            for uri, found in self.client.diagnostics.items()
            for d in found
            if d.code in ("rejected-artifact", "bad-template")
        ]

    async def found(self) -> tuple[Path, types.Diagnostic]:
        await until(self.rejected)
        ((uri, diagnostic),) = self.rejected()
        return Path(uri.removeprefix("file://")), diagnostic

    def line(self, file: Path, diagnostic: types.Diagnostic) -> str:
        """The line that a finding begins in."""
        return file.read_text().splitlines()[diagnostic.range.start.line]

    async def mended(self) -> None:
        await until(lambda: not self.rejected())


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("dataplane", "template", "right", "wrong", "words"),
    [
        ("envoy", "drop.yaml.j2", "{direct_response:", "{direct_respunse:", "no such field: 'direct_respunse'"),
        ("envoy", "envoy.yaml.j2", "codec_type: AUTO", "codec_type: HTTP17", "unknown enum value: 'HTTP17'"),
        ("envoy", "envoy.yaml.j2", "codec_type: AUTO", "codec_type: [AUTO]]", "error at line"),
        ("haproxy", "haproxy.cfg.j2", "mode http\n", "mode htpp\n", "unknown proxy mode 'htpp'"),
        ("ebpf", "verdict.c.j2", "m4_deny(", "m4_dany(", "m4_dany"),
    ],
)
async def test_a_template_whose_output_is_rejected_is_shown_when_it_is_saved(
    client: LanguageClient, tmp_path: Path, dataplane: str, template: str, right: str, wrong: str, words: str
) -> None:
    desk = Desk(client, tmp_path, dataplane)
    file = desk.spec / template
    await desk.begin()
    before = set(desk.folder.rglob("*"))
    desk.save(file, right, wrong)
    where, diagnostic = await desk.found()
    assert (where, diagnostic.code) == (file, "rejected-artifact")
    assert diagnostic.severity == types.DiagnosticSeverity.Error
    assert wrong.strip() in desk.line(file, diagnostic)
    assert diagnostic.range.start.line == diagnostic.range.end.line
    assert words in diagnostic.message and f"`{dataplane}` does not take what it would get" in diagnostic.message
    assert str(tmp_path) not in diagnostic.message and "/tmp" not in diagnostic.message
    related = {Path(r.location.uri).name: r.message for r in diagnostic.related_information or ()}
    assert related["spec.m4"].startswith("`") and f" of `{dataplane}` at `" in related["spec.m4"]
    assert "runs this for `teapot`" in related["policies.m4"]
    assert before == set(desk.folder.rglob("*")), "nothing is written"
    desk.save(file, wrong, right)
    await desk.mended()


@pytest.mark.asyncio
async def test_what_only_running_a_template_shows_is_told(client: LanguageClient, tmp_path: Path) -> None:
    """It is there when the workspace is opened: a workspace with templates of its own is not waited for."""
    desk = Desk(client, tmp_path, "envoy")
    file = desk.spec / "drop.yaml.j2"
    text = file.read_text()
    file.write_text(text.replace("{direct_response", "{{ rule.reason }}{direct_response"))
    await desk.begin()
    where, diagnostic = await desk.found()
    assert (where, diagnostic.code) == (file, "bad-template")
    assert "has no attribute 'reason'" in diagnostic.message
    desk.save(file, "{{ rule.reason }}", "")
    await desk.mended()


@pytest.mark.asyncio
async def test_what_a_policy_hands_on_is_validated_when_it_is_saved(client: LanguageClient, tmp_path: Path) -> None:
    desk = Desk(client, tmp_path, "haproxy")
    file = desk.spec / "drop.cfg.j2"
    text = file.read_text()
    file.write_text(
        text.replace("http-request return", "http-request {{ 'retern' if status[0] == 451 else 'return' }}")
    )
    await desk.begin()
    policies = desk.folder / "policies.m4"
    uri = opened(client, policies)
    text = policies.read_text().replace("418", "451")
    changed(client, uri, 2, text)
    desk.save(policies, "418", "451")
    where, diagnostic = await desk.found()
    assert where == file and "'retern'" in diagnostic.message
    assert "retern" in desk.line(file, diagnostic)
    changed(client, uri, 3, text.replace("451", "410"))
    desk.save(policies, "451", "410")
    await desk.mended()


@pytest.mark.asyncio
async def test_nothing_is_started_in_a_workspace_that_is_not_trusted(
    client: LanguageClient, tmp_path: Path, asked: Callable[[str], list[int]]
) -> None:
    """Nor where the setting says so; and what is known by then is gone."""
    desk = Desk(client, tmp_path, "haproxy")
    file = desk.spec / "haproxy.cfg.j2"
    await desk.begin({"trusted": False})
    uri = opened(client, desk.folder / "policies.m4")
    pid = client._server.pid if client._server is not None else 0
    desk.save(file, "mode http\n", "mode htpp\n")
    client.text_document_did_save(types.DidSaveTextDocumentParams(types.TextDocumentIdentifier(uri)))
    for _ in range(30):  # longer than the server waits before it begins
        assert children(pid) == []
        await asyncio.sleep(0.1)
    assert asked("asked") == [] and desk.rejected() == []

    desk.settings(trusted=True)
    where, _ = await desk.found()
    assert where == file and asked("asked")
    desk.settings(validateArtifacts=False)
    await desk.mended()
    before = asked("asked")
    desk.save(file, "mode htpp\n", "mode htpppp\n")
    await asyncio.sleep(2)
    assert asked("asked") == before and desk.rejected() == []
    desk.settings(validateArtifacts=True)
    _, diagnostic = await desk.found()
    assert "'htpppp'" in diagnostic.message


@pytest.mark.asyncio
async def test_what_is_saved_meanwhile_ends_the_validation_of_what_was_before(
    client: LanguageClient, tmp_path: Path, asked: Callable[[str], list[int]]
) -> None:
    desk = Desk(client, tmp_path, "haproxy")
    file = desk.spec / "haproxy.cfg.j2"
    await desk.begin()
    uri = opened(client, desk.folder / "policies.m4")
    desk.save(file, "mode http\n", "mode http # SLOW\n")
    await until(lambda: asked("slow"))
    (slow,) = asked("slow")
    at = types.HoverParams(types.TextDocumentIdentifier(uri), types.Position(0, 8))
    assert await client.text_document_hover_async(at) is not None, "it answers meanwhile"
    assert born(slow) is not None
    desk.save(file, "mode http # SLOW\n", "mode htpp\n")
    await desk.found()
    assert born(slow) is None


@pytest.mark.asyncio
async def test_nothing_goes_on_when_the_server_is_killed(
    client: LanguageClient, tmp_path: Path, asked: Callable[[str], list[int]]
) -> None:
    desk = Desk(client, tmp_path, "haproxy")
    await desk.begin()
    desk.save(desk.spec / "haproxy.cfg.j2", "mode http\n", "mode http # SLOW\n")
    await until(lambda: asked("slow"))
    (slow,) = asked("slow")
    assert client._server is not None
    client._stop_event.set()  # its end is no mistake
    client._server.send_signal(signal.SIGKILL)
    await until(lambda: born(slow) is None)


def children(pid: int) -> list[str]:
    """The processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [child for task in tasks for child in (task / "children").read_text().split()]
