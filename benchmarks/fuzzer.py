"""Messages that are wrong in all ways, and what may be answered to them."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.oddities import FAULTS, ODD, URIS
from benchmarks.rawclient import Broken, Wire, frame
from benchmarks.soak import Soak

INVALID, METHOD, PARAMS, EARLY = -32600, -32601, -32602, -32002
CANCELLED, MODIFIED, SERVER_CANCELLED, FAILED = -32800, -32801, -32802, -32803
ANSWERS = (None, PARAMS, CANCELLED, MODIFIED, SERVER_CANCELLED, FAILED)  # None: a result
CRASHED = "the language server failed"  # how the message of an error begins that is a mistake of the server
POINTS = (
    *("hover", "definition", "declaration", "typeDefinition", "implementation", "completion", "signatureHelp"),
    *("documentHighlight", "prepareRename", "linkedEditingRange", "prepareCallHierarchy"),
)
WHOLES = ("documentSymbol", "foldingRange", "codeLens", "documentLink", "semanticTokens/full")
COMMANDS = ("m4.evaluate", "m4.preview", "m4.map", "m4.plan", "m4.test", "m4.build", "m4.deploy", "m4.status", "m4.x")


@dataclass(slots=True)
class Outcome:
    """What a run came to: the messages by kind, and their answers by kind and code ("result" for a result)."""

    messages: int = 0
    sessions: int = 0
    compared: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    answers: dict[str, dict[str, int]] = field(default_factory=dict)
    memory: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Expected:
    """What may be answered to a request: codes of errors, None for a result."""

    kind: str
    codes: tuple[int | None, ...]
    message: Any


class Fuzz:
    """A client that does everything wrong, with one server."""

    def __init__(self, client: Wire, folder: Path, rng: Random, out: Outcome) -> None:
        self.client = client
        self.rng = rng
        self.out = out
        self.person = Soak(client, folder, rng)
        self.folder = folder
        self.waiting: dict[Any, Expected] = {}
        self.names = itertools.count(1)
        self.nameless = 0  # errors without an id that must have come
        self.actions: dict[str, tuple[int, Callable[[], None]]] = {
            "sound request": (10, self.sound),
            "edit": (10, self.edit),
            "bad position": (14, self.position),
            "unknown document": (12, self.unknown),
            "version out of order": (6, self.version),
            "wrong type": (22, self.mistyped),
            "no parameters": (4, self.bare),
            "huge or broken text": (2, self.huge),
            "many changes": (1, self.many),
            "cancelled": (8, self.cancelled),
            "broken frame": (5, self.frame),
            "no message": (6, self.no_message),
            "unknown method": (4, self.method),
            "command": (5, self.command),
            "odd answer": (3, self.answer),
            "odd files": (3, self.files),
            "id twice": (2, self.twice),
        }

    def act(self) -> None:
        weights = [weight for weight, _ in self.actions.values()]
        kind = self.rng.choices(list(self.actions), weights)[0]
        self.kind = kind
        self.count(kind)
        self.actions[kind][1]()

    def count(self, kind: str) -> None:
        self.out.kinds[kind] = self.out.kinds.get(kind, 0) + 1
        self.out.messages += 1

    # --- sending ---

    def ask(self, method: Any, params: Any, codes: tuple[int | None, ...] = ANSWERS, **more: Any) -> int:
        number = next(self.client.numbers)
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params, **more}
        self.waiting[number] = Expected(self.kind, codes, message)
        self.client.send(message)
        return number

    def refused(self) -> None:
        """An error without an id must come."""
        self.nameless += 1

    async def settle(self) -> None:
        """Waits for all answers, and judges them."""
        for number, expected in list(self.waiting.items()):
            shown = json.dumps(expected.message)[:600]
            await self.client.until(partial(self.client.answers.__contains__, number), f"an answer to {shown}")
            for answer in self.client.answers.pop(number):
                self.judge(expected, answer, shown)
            del self.waiting[number]
        await self.client.until(lambda: self.client.nameless >= self.nameless, "an error without an id")
        for answer in self.client.answers.pop(None, ()):
            self.tally("without an id", answer["error"]["code"])
        self.nameless = 0

    def judge(self, expected: Expected, answer: dict[str, Any], shown: str) -> None:
        code = answer["error"]["code"] if "error" in answer else None
        message = answer.get("error", {}).get("message", "")
        if code not in expected.codes or message.startswith(CRASHED) or (code is not None and not message):
            raise Broken(f"{json.dumps(answer)[:2000]}\nis answered to a message of kind `{expected.kind}`: {shown}")
        self.tally(expected.kind, code)

    def tally(self, kind: str, code: int | None) -> None:
        of = self.out.answers.setdefault(kind, {})
        name = "result" if code is None else str(code)
        of[name] = of.get(name, 0) + 1

    # --- what a client may send ---

    def document(self) -> tuple[str, str]:
        path, text = self.person.document()
        return Path(path).as_uri(), text

    def place(self, text: str) -> dict[str, int]:
        lines = text.split("\n")
        line = self.rng.randrange(len(lines))
        return {"line": line, "character": self.rng.randrange(len(lines[line]) + 1)}

    def request(self, uri: str, at: Any, until: Any = None) -> tuple[str, dict[str, Any]]:
        """Some request about a place of a document."""
        document = {"uri": uri}
        span = {"start": at, "end": until or at}
        options = {"tabSize": 4, "insertSpaces": True}
        others: list[tuple[str, dict[str, Any]]] = [
            ("references", {"position": at, "context": {"includeDeclaration": True}}),
            ("rename", {"position": at, "newName": self.rng.choice(("fresh", "", "policy", "é", "a b", "\ud800"))}),
            ("codeAction", {"range": span, "context": {"diagnostics": []}}),
            ("codeAction", {"range": span, "context": {"diagnostics": [], "only": ["source"]}}),
            ("inlayHint", {"range": span}),
            ("semanticTokens/range", {"range": span}),
            ("semanticTokens/full/delta", {"previousResultId": self.rng.choice(("1", "", "x"))}),
            ("selectionRange", {"positions": [at, at]}),
            ("formatting", {"options": options}),
            ("rangeFormatting", {"range": span, "options": options}),
            ("onTypeFormatting", {"position": at, "ch": self.rng.choice(("}", ";", "")), "options": options}),
        ]
        kind = self.rng.randrange(len(POINTS) + len(WHOLES) + len(others))
        if kind < len(POINTS):
            return f"textDocument/{POINTS[kind]}", {"textDocument": document, "position": at}
        if kind < len(POINTS) + len(WHOLES):
            return f"textDocument/{WHOLES[kind - len(POINTS)]}", {"textDocument": document}
        name, more = others[kind - len(POINTS) - len(WHOLES)]
        return f"textDocument/{name}", {"textDocument": document, **more}

    def sound(self) -> None:
        uri, text = self.document()
        if self.rng.random() < 0.1:
            self.ask("workspace/symbol", {"query": self.rng.choice(("", "a", "é", "x" * 300))})
        else:
            self.ask(*self.request(uri, self.place(text)))

    def edit(self) -> None:
        self.person.act()

    def position(self) -> None:
        """Beyond lines and files, before them, within a character, and ranges that end before they begin."""
        uri, text = self.document()
        odd = (0, 1, 7, 10**6, 2**31 - 1, 2**31, 2**40, -1, -(2**31))
        at = {"line": self.rng.choice(odd), "character": self.rng.choice(odd)}
        until = self.rng.choice((None, {"line": 0, "character": 0}, self.place(text)))
        if self.rng.random() < 0.3:
            path, before = self.person.document()
            self.set(path, {"range": {"start": at, "end": until or at}, "text": ""})
            self.set(path, before)  # so that both sides have the same
        else:
            self.ask(*self.request(uri, at, until))

    def set(self, path: str, *changes: str | dict[str, Any]) -> None:
        """A new version of a document, by changes that may be none: whole texts, or as the protocol has them."""
        self.person.open[path].version += 1
        identity = {"uri": Path(path).as_uri(), "version": self.person.open[path].version}
        given = [{"text": c} if isinstance(c, str) else c for c in changes]
        self.client.notify("textDocument/didChange", {"textDocument": identity, "contentChanges": given})

    def unknown(self) -> None:
        uri = self.rng.choice((*URIS, self.folder.as_uri(), f"{self.folder.as_uri()}/none.m4"))
        document = {"uri": uri, "version": self.rng.choice((0, 1, -5, None))}
        match self.rng.randrange(5):
            case 0:
                change = {"range": {"start": self.place("a"), "end": self.place("b")}, "text": "x"}
                self.client.notify("textDocument/didChange", {"textDocument": document, "contentChanges": [change]})
            case 1:
                what = self.rng.choice(("didClose", "didSave"))
                self.client.notify(f"textDocument/{what}", {"textDocument": {"uri": uri}})
            case 2:  # opened, and closed before anything else is compared
                item = {"uri": uri, "languageId": "m4", "version": 1, "text": "policy x"}
                self.client.notify("textDocument/didOpen", {"textDocument": item})
                self.ask(*self.request(uri, {"line": 0, "character": 3}))
                self.client.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
            case _:
                self.ask(*self.request(uri, {"line": 0, "character": self.rng.randrange(3)}))

    def version(self) -> None:
        """Earlier versions, the same one again, a document that is opened twice or closed twice."""
        path, text = self.person.document()
        document, uri = self.person.open[path], Path(path).as_uri()
        match self.rng.randrange(3):
            case 0:
                document.version = self.rng.choice((document.version, document.version - 3, 0, 2**31 - 2 - 10**6))
                self.person.write(path, text + " ")
                document.version = max(document.version, 0)
            case 1:
                item = {"uri": uri, "languageId": "m4", "version": document.version, "text": text}
                self.client.notify("textDocument/didOpen", {"textDocument": item})
            case _:
                self.client.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
                self.client.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
                self.client.notify(
                    "textDocument/didChange", {"textDocument": {"uri": uri, "version": 3}, "contentChanges": []}
                )
                del self.person.open[path]
                self.person.opened(path)

    def mistyped(self) -> None:
        """A sound request of which something is replaced or left out."""
        uri, text = self.document()
        method, params = self.request(uri, self.place(text))
        if self.rng.random() < 0.15:
            method, params = "workspace/executeCommand", {"command": "m4.evaluate", "arguments": [uri, "x"]}
        params = copy.deepcopy(params)
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            spots = list(_spots(params))
            holder, key = self.rng.choice(spots) if spots else (params, "x")
            if self.rng.random() < 0.3 and isinstance(holder, dict):
                holder.pop(key, None)
            else:
                holder[key] = copy.deepcopy(self.rng.choice(ODD))
        self.ask(method, params)

    def bare(self) -> None:
        uri, text = self.document()
        method, _ = self.request(uri, self.place(text))
        self.ask(method, self.rng.choice((None, [], {}, "x", 3, [1], {"textDocument": None})), (PARAMS,))

    def huge(self) -> None:
        path, text = self.person.document()
        at = self.rng.randrange(len(text) + 1)
        self.set(path, text[:at] + self.rng.choice(FAULTS) + text[at:])
        self.ask(*self.request(Path(path).as_uri(), self.place(text)))
        self.set(path, text)

    def many(self) -> None:
        """A thousand changes in one message."""
        path, text = self.person.document()
        start = {"line": 0, "character": 0}
        self.set(path, *[{"range": {"start": start, "end": start}, "text": "é"}] * 1000)
        self.set(path, text)

    def cancelled(self) -> None:
        """Requests that are cancelled at once, twice, when they are answered, or never were; and ids that are none."""
        if self.rng.random() < 0.6:
            uri, text = self.document()
            number: Any = self.ask(*self.request(uri, self.place(text)))
        else:
            number = self.rng.choice((1, 10_000, "x", "", -3, None, [], {}, 1.5, 10**30))
        for _ in range(self.rng.choice((1, 1, 2))):
            self.client.send({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": number}})

    def frame(self) -> None:
        """Bytes that are no message; the next one is."""
        data, answered = self.rng.choice(
            (
                (b"\r\n", True),
                (b"Content-Length: x\r\n\r\n", True),
                (b"Content-Length: -5\r\n\r\n", True),
                (b"Content-Type: a\r\n\r\n", True),
                (b"\xff\xfe\xfd: 3\r\n\r\n", True),
                (b"X: " + b"y" * 200_000 + b"\r\n\r\n", True),
                (b"Content-Length: 0\r\n\r\n", True),
                (b"Content-Length: 3\r\n\r\n{}", True),  # takes the next byte along, and is closed by it or not
                (frame(b"\xff\xfe{}"), True),
                (frame(b'{"jsonrpc": "2.0", "id": 1, "method": "\xc3\x28"}'), True),
                (frame(b"["), True),
                (frame(b"[" * 100_000), True),
                (frame(b"1" * 10_000), True),
                (frame(b'{"jsonrpc": "2.0", "id": 1e999, "method": "x"}'), True),
                (b"content-length:2\r\nX-More: 1\r\n\r\n[]", True),
                (b"{}\r\n\r\n", True),
            )
        )
        if data.endswith(b"\n{}") and data.startswith(b"Content-Length: 3"):
            data += b" "
        self.client.raw(data)
        if answered:
            self.refused()

    def no_message(self) -> None:
        """Sound JSON that is no message of the protocol."""
        identity: Any = self.rng.choice((None, [], {}, 1.5, True))
        messages: tuple[Any, ...] = (
            [],
            [{"jsonrpc": "2.0", "id": 1, "method": "shutdown"}],
            3,
            None,
            "x",
            {},
            {"jsonrpc": "1.0", "method": "x"},
            {"jsonrpc": "2.0", "id": identity, "method": "textDocument/hover", "params": {}},
            {"jsonrpc": "2.0", "method": 7},
        )
        self.client.send(self.rng.choice(messages))
        self.refused()

    def method(self) -> None:
        """Methods that do not exist, notifications as requests, requests as notifications, what servers send."""
        if self.rng.random() < 0.3:
            self.ask(
                self.rng.choice(("textDocument/didOpen", "initialized", "$/cancelRequest", "exit")), {}, (INVALID,)
            )
        elif self.rng.random() < 0.3:
            message: dict[str, Any] = {
                "jsonrpc": "2.0",
                "method": self.rng.choice(("textDocument/hover", "x", "$/x", "")),
                "params": {},
            }
            self.client.send(message)
        else:
            self.ask(
                self.rng.choice(("x", "", "$/x", "textDocument/x", "é" * 500)), self.rng.choice(({}, None)), (METHOD,)
            )

    def command(self) -> None:
        uri, _ = self.document()
        given = [self.rng.choice((uri, "no_policy", *URIS, *ODD)) for _ in range(self.rng.randrange(4))]
        name = self.rng.choice(COMMANDS)
        if name in ("m4.build", "m4.deploy"):  # not about something that is there: neither is to be done
            given = [f"{uri}x", *given[1:]]
        self.ask("workspace/executeCommand", {"command": name, "arguments": given})

    def answer(self) -> None:
        """Answers to what the server has asked, or has not."""
        numbers: list[Any] = [self.client.asked.pop() if self.client.asked else "x", "never", 3, None, []]
        body: dict[str, Any] = self.rng.choice(
            (
                {"result": self.rng.choice(ODD)},
                {"error": {"code": 1, "message": "no"}},
                {"error": self.rng.choice(ODD)},
                {},
            )
        )
        self.client.send({"jsonrpc": "2.0", "id": self.rng.choice(numbers), **body})

    def files(self) -> None:
        """Files and folders that come, go and move, and are not there."""
        uri, other = self.rng.choice(URIS), self.rng.choice(URIS)
        match self.rng.randrange(4):
            case 0:
                changes = [{"uri": uri, "type": self.rng.choice((1, 2, 3))}]
                self.client.notify("workspace/didChangeWatchedFiles", {"changes": changes})
            case 1:
                self.ask("workspace/willRenameFiles", {"files": [{"oldUri": uri, "newUri": other}]})
            case 2:
                odd = {
                    "uri": self.rng.choice(("", "x", "untitled:a", "file:///nowhere/at/all", "http://h/")),
                    "name": "x",
                }
                self.client.notify("workspace/didChangeWorkspaceFolders", {"event": {"added": [odd], "removed": []}})
                self.client.notify("workspace/didChangeWorkspaceFolders", {"event": {"added": [], "removed": [odd]}})
            case _:
                self.client.notify("workspace/didChangeConfiguration", {"settings": self.rng.choice(ODD)})

    def twice(self) -> None:
        """A session that is begun again, or an id that is used for two requests at once."""
        if self.rng.random() < 0.5:
            self.client.notify("initialized", {})
            self.ask("initialize", {"capabilities": {}, "processId": None, "rootUri": None}, (INVALID,))
        else:
            uri, text = self.document()
            self.ask(*self.request(uri, self.place(text)), (*ANSWERS, INVALID))
            method, params = self.request(uri, self.place(text))
            number = next(reversed(self.waiting))
            self.client.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def _spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Everything within a value that can be replaced: what holds it, and where."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _spots(value[key])
