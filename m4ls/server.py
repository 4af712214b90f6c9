"""The server: documents in step with the client, one thread for the analyser, one file for each request."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from lsprotocol import types
from m4c import VERSION
from m4c.garbage import RARELY
from pygls.exceptions import JsonRpcException, JsonRpcInternalError
from pygls.io_ import StdoutWriter
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, default_converter
from pygls.protocol.language_server import lsp_method

from m4ls.analyst import Analyst, Outdated
from m4ls.checker import Checker
from m4ls.convert import Converter
from m4ls.documents import Document, Documents, path_of
from m4ls.errors import ContentModified, Failure
from m4ls.features import FEATURES, diagnostics, graph_files
from m4ls.features.semantic_tokens import Colours
from m4ls.jobs import Jobs
from m4ls.messages import Messages
from m4ls.positions import choose
from m4ls.reports import Reports
from m4ls.stdio import Input
from m4ls.surveys import Surveys
from m4ls.trust import Trust
from m4ls.validation import Validation

if TYPE_CHECKING:
    from m4c.workspace import Workspace

T = TypeVar("T")
WATCHED = (".m4", "m4.toml", ".yaml", ".yml", ".json", ".j2")  # how the names of files end that may be ours
SWITCH = 0.0005  # seconds that the analyser may keep the interpreter while a message waits to be read or sent
log = logging.getLogger(__name__)


class M4Protocol(LanguageServerProtocol):
    """The documents are kept by `Documents`: pygls also takes other characters for line breaks than the protocol does,
    and fails on documents that it does not know."""

    _server: M4Server

    @property
    def initialized(self) -> bool:
        """Whether `initialize` was answered."""
        return hasattr(self, "server_capabilities")

    @property
    def running(self) -> Container[str | int]:
        """The ids of what has no answer yet, of either side."""
        return self._request_futures

    def _execute_handler(self, msg_id: str | int, *args: Any, **kwargs: Any) -> None:
        """pygls would keep what notifications have started for as long as the session lasts."""
        super()._execute_handler(msg_id, *args, **kwargs)
        started = self._request_futures.get(msg_id)
        if started is not None:
            started.add_done_callback(lambda done: self._forget(msg_id, done))

    def _forget(self, msg_id: str | int, done: object) -> None:
        if self._request_futures.get(msg_id) is done:
            del self._request_futures[msg_id]

    def refuse(self, identity: str | int | None, error: JsonRpcException) -> None:
        """Answers a message that is none, or comes at the wrong time; without an id if it has none that can be read."""
        answer = {"code": error.code, "message": error.message}
        self._send_data({"jsonrpc": "2.0", "id": identity, "error": answer})

    def given_up(self, identity: Any) -> bool:
        """Forgets a request of ours whose answer nobody waits for any more; whether it is one."""
        future = self._request_futures.get(identity)
        if future is None or not future.cancelled():
            return False
        del self._request_futures[identity]
        return True

    @lsp_method(types.WORKSPACE_EXECUTE_COMMAND)
    async def lsp_workspace__execute_command(  # type: ignore[override]
        self, params: types.ExecuteCommandParams
    ) -> Any:
        """pygls runs commands beside their requests, so who cancels a request does not reach the command."""
        handler, args, kwargs = next(super().lsp_workspace__execute_command(params))
        return await handler(*args, **kwargs)

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> None:
        self._server.opened(self._server.documents.open(params.text_document))

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        document = params.text_document
        self._server.changed(self._server.documents.change(document.uri, document.version, params.content_changes))

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> None:
        self._server.closed(self._server.documents.close(params.text_document.uri))


class M4Server(LanguageServer):
    """The state of one connection."""

    def __init__(self) -> None:
        super().__init__("m4ls", VERSION, protocol_cls=M4Protocol, converter_factory=default_converter)
        self.documents = Documents()
        self.analyst = Analyst()
        self.reports = Reports(self)
        self.survey = Surveys(self)
        self.colours = Colours(self)
        self.jobs = Jobs(self)
        self.trust = Trust(self)
        self.checker = Checker(self)
        self.validation = Validation(self)
        self.watching: asyncio.Task[None] | None = None
        self._converter: Converter | None = None
        for register in FEATURES:
            register(self)

    # --- answers ---

    def converter(self, workspace: Workspace) -> Converter:
        """In the analyser's thread."""
        if self._converter is None or self._converter.workspace is not workspace:
            self._converter = Converter(workspace, self.documents.encoding, self.documents.uri)
        return self._converter

    async def ask(self, question: Callable[[Workspace], T], long: bool = False) -> T:
        """The answer of the analyser; what fails there becomes an error for people, not a traceback."""
        try:
            return await self.analyst.ask(question, long)
        except JsonRpcException:
            raise
        except Outdated:
            raise ContentModified("the text has changed") from None
        except Exception as e:
            log.exception("a request failed")
            raise Failure(f"the language server failed: {type(e).__name__}: {e}") from None

    async def ask_file(
        self, uri: str, question: Callable[[Workspace, str, Converter], T], default: T, long: bool = False
    ) -> T:
        """The answer to a question about the text of a document; the default for what is no file, and for a file of the
        macro processor m4. `long`: an edit makes an end of it."""

        def about(workspace: Workspace, path: str, convert: Converter) -> T:
            return default if workspace.is_foreign(path) else question(workspace, path, convert)

        return await self.ask_path(uri, about, default, long)

    async def ask_path(
        self, uri: str, question: Callable[[Workspace, str, Converter], T], default: T, long: bool = False
    ) -> T:
        """As `ask_file`, of what a file or a folder is in."""
        path = path_of(uri)
        if path is None:
            return default
        return await self.ask(lambda workspace: question(workspace, path, self.converter(workspace)), long)

    # --- documents ---

    def opened(self, document: Document | None) -> None:
        if document is not None:
            self.reports.forget(document.path)
            self.analyst.edit(document.path, document.text)
            self.checker.changed()

    def changed(self, document: Document | None) -> None:
        if document is not None:
            self.analyst.edit(document.path, document.text)
            self.checker.edited(document.path)

    def closed(self, path: str | None) -> None:
        if path is not None:
            self.reports.forget(path)
            self.analyst.edit(path, None)
            self.checker.changed()

    def roots(self) -> list[str]:
        """The folders of the workspace; without one only the open files, and what they name, are looked at."""
        uris = [folder.uri for folder in self.workspace.folders.values()]
        if not uris and self.workspace.root_uri:
            uris = [self.workspace.root_uri]
        paths = [p for p in map(path_of, uris) if p is not None and Path(p).is_dir()]
        return [p for p in paths if not any(p.startswith(f"{q}/") for q in paths)]

    def serve(self) -> None:
        """Serves one client on standard input and output until it ends the session, with `SystemExit`, or is gone."""

        async def run() -> None:
            self.protocol.set_writer(StdoutWriter(sys.stdout.buffer))
            await Messages(cast(M4Protocol, self.protocol)).read(Input(sys.stdin.buffer))

        try:
            asyncio.run(run())
        except BrokenPipeError:
            log.warning("the client is gone")
        except KeyboardInterrupt:
            pass
        finally:
            self.analyst.close()  # it may be working for a client that is gone
            self.shutdown()  # type: ignore[no-untyped-call]

    # --- errors ---

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Into the log; a request that fails is answered with an error anyway, and one that is refused is no error."""
        wrong = isinstance(error, JsonRpcInternalError) or not isinstance(error, JsonRpcException)
        log.log(logging.ERROR if wrong else logging.INFO, "%s", error)


def _lifecycle(server: M4Server) -> None:
    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        general = params.capabilities.general
        offered = list(general.position_encodings or ()) if general else None
        server.documents.encoding = choose(offered)
        server.trust.hear(params.initialization_options)
        server.validation.hear(params.initialization_options)
        if server.reports.pulled:
            diagnostics.register(server)

    @server.feature(types.INITIALIZED)
    def initialized(params: types.InitializedParams) -> None:
        gc.set_threshold(*RARELY)
        gc.enable()
        server.analyst.start(server.roots())
        server.checker.changed()
        server.validation.due(only_own=True)
        server.watching = asyncio.create_task(_register(server))

    @server.feature(types.SHUTDOWN)
    def shutdown(params: None) -> None:
        server.checker.stop()
        server.validation.stop()
        server.analyst.close()

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE, types.SaveOptions(include_text=False))
    def saved(params: types.DidSaveTextDocumentParams) -> None:
        if not _watches(server):
            server.analyst.refresh()
        server.checker.changed()
        server.validation.due()

    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    async def changed_on_disk(params: types.DidChangeWatchedFilesParams) -> None:
        if not await _matter(server, params.changes):
            return
        server.analyst.refresh()
        server.checker.changed()
        server.validation.due()

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    def changed_settings(params: types.DidChangeConfigurationParams) -> None:
        trusted, wanted = server.trust.hear(params.settings), server.validation.hear(params.settings)
        if trusted:
            server.checker.changed()
        if trusted or wanted:
            server.validation.due(only_own=True)

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def changed_folders(params: types.DidChangeWorkspaceFoldersParams) -> None:
        server.analyst.refresh(server.roots())
        server.checker.changed()
        server.validation.due(only_own=True)


def _watches(server: M4Server) -> bool:
    workspace = server.client_capabilities.workspace
    watched = workspace.did_change_watched_files if workspace else None
    return bool(watched and watched.dynamic_registration)


async def _matter(server: M4Server, changes: Sequence[types.FileEvent]) -> bool:
    """Whether what has changed on the disk may be ours."""
    if any(change.uri.endswith(WATCHED) for change in changes):
        return True
    paths = [p for p in (path_of(change.uri) for change in changes) if p is not None]
    return await server.ask(lambda workspace: workspace.knows_within(paths))


async def _register(server: M4Server) -> None:
    """Asks the client to tell what changes on the disk, and to hand us the graph files that are open, too."""
    wanted = [*_watchers(server), *graph_files.registrations(server)]
    if not wanted:
        return
    try:
        await server.client_register_capability_async(types.RegistrationParams(wanted))
    except JsonRpcException as e:
        log.warning("the client neither watches files nor hands over graphs: %s", e)


def _watchers(server: M4Server) -> list[types.Registration]:
    if not _watches(server):
        return []
    watchers = [types.FileSystemWatcher(f"**/*{end}" if end.startswith(".") else f"**/{end}") for end in WATCHED]
    # Of a folder that is deleted some clients tell its own name and none of the names in it.
    watchers.append(types.FileSystemWatcher("**/*", types.WatchKind.Delete))
    options = types.DidChangeWatchedFilesRegistrationOptions(watchers)
    method = types.WORKSPACE_DID_CHANGE_WATCHED_FILES
    return [types.Registration(id="m4-files", method=method, register_options=options)]


class _Expected(logging.Filter):
    """Leaves out the tracebacks of errors that were answered to the client as such, or are told by `Messages`."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.msg.startswith("Unable to deserialize message"):
            return False
        return not (record.exc_info and isinstance(record.exc_info[1], JsonRpcException))


def create() -> M4Server:
    server = M4Server()
    _lifecycle(server)
    return server


def serve() -> None:
    """Serves one client on standard input and output. Standard error is the log."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("pygls.protocol.json_rpc").addFilter(_Expected())
    sys.setswitchinterval(SWITCH)
    create().serve()
