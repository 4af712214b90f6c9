"""What is wrong, as the client is told: pushed to it, or pulled by it.

A client that can pull, and can be asked to pull again, pulls the diagnostics of the documents that are open in it; they
are not pushed. As soon as it pulls those of the workspace, nothing is pushed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsprotocol import types
from pygls.exceptions import JsonRpcException

if TYPE_CHECKING:
    from m4ls.server import M4Server

REFRESH = 0.25  # seconds in which a client may pull by itself what has changed before it is asked to


@dataclass(frozen=True, slots=True)
class Report:
    """What is found in a file, under a name of its own."""

    id: str
    items: list[types.Diagnostic]


class Reports:
    """The newest findings, and what the client knows of them."""

    def __init__(self, server: M4Server) -> None:
        self.server = server
        self._session = f"{time.time_ns():x}"  # tells result ids apart from those of an earlier server
        self._number = 0
        self._nothing = Report(f"{self._session}-0", [])
        self._found: dict[str, Report] = {}
        self._pushed: dict[str, tuple[int | None, list[types.Diagnostic]]] = {}
        self._blamed_as: dict[str, str] = {}  # the URIs under which the client was told of findings
        self._again: set[str] = set()  # files that were opened or closed
        self._told: dict[str, str] = {}  # the ids of what the client has pulled last
        self._blamed: set[str] = set()  # files in which the client has pulled findings
        self._pulled_workspace = False
        self._news = asyncio.Event()
        self._refresh: asyncio.Task[None] | None = None

    @property
    def pulled(self) -> bool:
        """Whether the client pulls diagnostics, and can be told when to."""
        able = self.server.client_capabilities
        documents, workspace = able.text_document, able.workspace
        refreshed = workspace.diagnostics if workspace else None
        return bool(documents and documents.diagnostic and refreshed and refreshed.refresh_support)

    # --- what is found ---

    def update(
        self, found: Mapping[str, list[types.Diagnostic]], versions: Mapping[str, int | None], edited: str | None
    ) -> None:
        """Everything was looked at, in these versions of the open documents. What an edit has changed in the edited
        file is told first, then what it has changed elsewhere."""
        changed: set[str] = set()
        for path in {*found, *self._found}:
            items, before = found.get(path, []), self.of(path)
            if items is before.items or items == before.items:
                continue
            changed.add(path)
            if items:
                self._number += 1
                self._found[path] = Report(f"{self._session}-{self._number}", items)
            else:
                del self._found[path]
        for path in sorted({*changed, *self._again, *versions}, key=lambda p: (p != edited, p not in versions, p)):
            self._push(path, versions)
        self._again.clear()
        if changed:
            self._news.set()
            self._news = asyncio.Event()
        if changed and self.pulled and self._refresh is None:
            self._refresh = asyncio.create_task(self._ask_to_pull())

    def first(self, path: str, items: list[types.Diagnostic]) -> None:
        """A document's own errors, before the rest is known."""
        document = self.server.documents.get(path)
        before = self._pushed.get(path)
        if document is not None and not self._pulls(path, True) and (before is None or before[1] != items):
            self._send(path, document.version, items)

    def of(self, path: str) -> Report:
        return self._found.get(path, self._nothing)

    def paths(self) -> tuple[str, ...]:
        """The files in which something is found, or was when the client pulled it: it may have kept that, and have
        forgotten under which id."""
        return tuple(sorted(self._found.keys() | self._blamed))

    # --- pushed ---

    def forget(self, path: str) -> None:
        """The client has opened or closed a file: what is found in it is published again."""
        self._again.add(path)

    def _pulls(self, path: str, opened: bool) -> bool:
        return self.pulled and (opened or self._pulled_workspace)

    def _push(self, path: str, versions: Mapping[str, int | None]) -> None:
        opened = path in versions
        if self._pulls(path, opened):
            if self._pushed.get(path, (None, []))[1]:  # it was pushed before it was opened
                self._send(path, versions.get(path), [])
            self._pushed.pop(path, None)
            return
        now = (versions.get(path), self.of(path).items)
        known = self._pushed.get(path, (None, []))
        if now != known or (path in self._again and (opened or known[1])):
            self._send(path, *now)
        if not opened and not now[1]:
            self._pushed.pop(path, None)

    def _send(self, path: str, version: int | None, items: list[types.Diagnostic]) -> None:
        self._pushed[path] = (version, items)
        uri = self.server.documents.uri(path)
        before = self._blamed_as.pop(path, uri)
        if before != uri:  # the client has spelled it otherwise, or does not any more
            self.server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(before, []))
        if items:
            self._blamed_as[path] = uri
        self.server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, items, version))

    # --- pulled ---

    def pull(self, path: str) -> Report:
        """What is found in a file; the client knows it from now on."""
        report = self.of(path)
        self._told[path] = report.id
        if report.items:
            self._blamed.add(path)
        return report

    def pulls_workspace(self) -> bool:
        """The client pulls what is found anywhere: what was pushed is taken back. Whether it does so for the first
        time."""
        if self._pulled_workspace:
            return False
        self._pulled_workspace = True
        for path in list(self._pushed):
            self._push(path, self.server.documents.versions())
        return True

    def behind(self, but: str) -> tuple[str, ...]:
        """The documents, other than one, whose findings have changed since the client was told what they are."""
        return tuple(p for p in self._stale() if p != but)

    async def changed(self) -> None:
        """Waits until something else is found somewhere."""
        await self._news.wait()

    def _stale(self) -> Iterable[str]:
        """The open documents that the client has pulled, and would get another answer for."""
        opened = self.server.documents.versions()
        return [p for p, told in self._told.items() if p in opened and told != self.of(p).id]

    async def _ask_to_pull(self) -> None:
        try:
            known = None
            while known is not self._news:  # else nothing has changed since the client was asked
                known = self._news
                await asyncio.sleep(REFRESH)
                if self._stale():
                    await self.server.workspace_diagnostic_refresh_async(None)
        except JsonRpcException:
            pass  # the client will pull when something changes
        finally:
            self._refresh = None
