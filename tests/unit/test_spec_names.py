"""What a dataplane can do stands in its spec alone: no name that a spec declares is in the compiler, the server, or an
editor. The names are read from `specs/`, so that every new one is looked for too.

Operations, entities and dataplanes are looked for as identifiers and as words of strings. Attributes and values of
enums are often words of plain English, which only name an attribute where they stand alone or in something like
`x.name[…]`: those are looked for as whole identifiers and in strings without spaces.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from m4c.syntax import tree as t
from m4c.syntax.items import split
from m4c.syntax.parser import parse_item

ROOT = Path(__file__).resolve().parents[2]
SPECS = sorted((ROOT / "specs").rglob("*.m4"))
PYTHON = [p for folder in ("compiler/m4c", "m4ls") for p in sorted((ROOT / folder).rglob("*.py"))]
TYPESCRIPT = sorted((ROOT / "vscode-extension/src").rglob("*.ts"))
EDITORS = [
    *sorted((ROOT / "editors").rglob("*.lua")),
    *sorted((ROOT / "vscode-extension/syntaxes").glob("*.json")),
    ROOT / "compiler/m4c/syntax/grammar.lark",
]

# Identifiers that are words of their own in the code, whatever attributes are called.
WORDS = {
    "header": "an option of `m4 trace`",
    "mark": "any attribute that travels, whatever it is called",
    "method": "an option of `m4 trace`; a method of the editors' protocol",
    "peer": "the keyword `peer` of specs; the other end of a listener",
    "request": "what an input is, in general; a method of the editors' protocol",
    "status": "the command `m4 status`",
    "target": "where an edge leads; what a command is about; an option of `m4 trace` and `m4 deploy`",
}

# Strings: (file, name) to why it does not stand for what the spec declares.
STRINGS = {
    ("compiler/m4c/backends/render.py", "header"): "a field of the templates' variable `context`",
    ("compiler/m4c/placement/elements.py", "header"): "a field of the templates' variable `context`",
    ("compiler/m4c/cli/deploy.py", "status"): "the command `m4 status`",
    ("compiler/m4c/cli/main.py", "header"): "sugar of `m4 trace` for --set",
    ("compiler/m4c/cli/main.py", "method"): "sugar of `m4 trace` for --set",
    ("compiler/m4c/cli/main.py", "target"): "sugar of `m4 trace` for --set; the target of `m4 deploy`",
    ("compiler/m4c/cli/main.py", "port"): "--base-port of `m4 deploy`, --port of `m4 graph show --serve`",
    ("compiler/m4c/cli/main.py", "status"): "the command `m4 status`",
    ("compiler/m4c/cli/inputs.py", "header"): "what --header stands for",
    ("compiler/m4c/cli/inputs.py", "method"): "what --method stands for",
    ("compiler/m4c/cli/inputs.py", "target"): "what --target stands for",
    ("compiler/m4c/tracing.py", "verdict"): "the summary of `m4 trace`",
    ("compiler/m4c/tracing.py", "status"): "the summary of `m4 trace`",
    ("compiler/m4c/diagnostics/suppress.py", "allow"): "how a suppression is written, whatever it is about",
    ("compiler/m4c/diagnostics/registry.py", "Split"): "the verb, at the start of a sentence",
    ("compiler/m4c/graph/kiali.py", "target"): "where an edge leads, in Kiali's answer",
    ("compiler/m4c/graph/kubernetes.py", "route"): "a key of Istio's VirtualService",
    ("compiler/m4c/graph/manifests.py", "port"): "a key of a Kubernetes Service",
    ("compiler/m4c/ide/actions.py", "ebpf"): "what people call what runs in the kernel; the tier decides, not the spec",
    ("compiler/m4c/ide/evaluate.py", "request"): "what is evaluated, in the answer of `m4.evaluate`",
    ("compiler/m4c/ide/tokens.py", "method"): "a kind of token of the editors' protocol",
    ("m4ls/features/semantic_tokens.py", "method"): "a kind of token of the editors' protocol",
    ("compiler/m4c/syntax/build.py", "peer"): "the keyword `peer` of specs",
    ("compiler/m4c/analysis/multihop.py", "timeout"): "the code `timeout-inversion`",
    ("compiler/m4c/analysis/multihop.py", "header"): "the code `overwritten-header`",
    ("compiler/m4c/diagnostics/registry.py", "timeout"): "the code `timeout-inversion`",
    ("compiler/m4c/diagnostics/registry.py", "header"): "the code `overwritten-header`",
    ("compiler/m4c/files.py", "target"): "a folder that build tools make",
    ("m4ls/features/commands.py", "status"): "the command `m4.status`",
    ("compiler/m4c/cli/jobs.py", "mark"): "any attribute that travels, in `m4 plan --format json`",
    ("vscode-extension/src/commands.ts", "status"): "the command `m4.status`",
    ("vscode-extension/src/server.ts", "status"): "the command `m4.status`",
    ("m4ls/messages.py", "method"): "a field of the messages of the editors' protocol",
    ("compiler/m4c/ide/refactor.py", "Split"): "the verb, at the start of a title",
}


class Name(NamedTuple):
    """A declared name. `rare`: it is no word of plain English, so it is looked for everywhere."""

    text: str
    rare: bool


class Word(NamedTuple):
    """An identifier or a string of a source, and its line."""

    text: str
    line: int
    string: bool


def declared(node: object) -> Iterator[Name]:
    """The names that a tree declares."""
    match node:
        case t.OperationDecl() | t.ConditionDecl() | t.EntityDecl() | t.StateEntityDecl() | t.SpecDecl():
            yield Name(node.name.text, rare=True)
        case t.AttributeDecl():
            yield Name(node.name.text, rare="_" in node.name.text)
        case t.EnumDecl():
            yield Name(node.name.text, rare=True)
            yield from (Name(value.text, rare=False) for value, _ in node.values)
    if isinstance(node, tuple):
        for part in node:
            yield from declared(part)
    elif dataclasses.is_dataclass(node):
        for field in dataclasses.fields(node):
            yield from declared(getattr(node, field.name))


def all_names() -> list[Name]:
    items = (item for file in SPECS for item in split(file.read_text("utf-8")))
    return sorted({name for item in items for name in declared(parse_item(item.text).decl)})


NAMES = all_names()


LIBRARY = ("Counter",)  # a class of Python's `collections`


def python_words(source: str) -> Iterator[Word]:
    """Identifiers and strings, but no docstrings and comments: those may give examples."""
    tree = ast.parse(source)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docs:
                yield Word(text, node.lineno, True)
            case ast.Name(id=text) if text in LIBRARY:
                pass
            case ast.Name(id=text) | ast.Attribute(attr=text) | ast.arg(arg=text):
                yield Word(text, node.lineno, False)
            case ast.FunctionDef(name=text) | ast.AsyncFunctionDef(name=text) | ast.ClassDef(name=text):
                yield Word(text, node.lineno, False)
            case ast.keyword(arg=str(text)) | ast.MatchAs(name=str(text)) | ast.alias(asname=str(text)):
                yield Word(text, node.lineno, False)


_TYPESCRIPT = re.compile(
    r"(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<string>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)"
    r"|(?P<word>[A-Za-z_$][\w$]*)",
    re.S,
)


TIMERS = ("setTimeout", "clearTimeout")  # functions of JavaScript


def typescript_words(source: str) -> Iterator[Word]:
    for m in _TYPESCRIPT.finditer(source):
        if m.lastgroup != "comment" and m.group() not in TIMERS:
            yield Word(m.group().strip("\"'`"), source.count("\n", 0, m.start()) + 1, m.lastgroup == "string")


@functools.cache
def humps(name: str) -> tuple[str, ...]:
    """The words of an identifier: `SetHeader`, `set_header` → set, header."""
    return tuple(h.lower() for h in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name))


def names(word: Word, name: Name) -> bool:
    """Whether an identifier or a string names what a spec declares."""
    if word.string:
        return bool(pattern(name).search(word.text)) and (name.rare or not re.search(r"\s", word.text))
    parts = humps(name.text)
    if not name.rare or one_capital(name):
        return word.text == name.text
    mine = humps(word.text)
    return any(mine[i : i + len(parts)] == parts for i in range(len(mine) - len(parts) + 1))


def one_capital(name: Name) -> bool:
    """`Split`: in lower case it is plain English."""
    return name.text[0].isupper() and len(humps(name.text)) == 1


@functools.cache
def pattern(name: Name) -> re.Pattern[str]:
    """The name as a whole word."""
    exact = not name.rare or one_capital(name)
    return re.compile(rf"(?<![A-Za-z0-9_]){re.escape(name.text)}(?![A-Za-z0-9_])", 0 if exact else re.I)


def leaks(words: Iterator[Word], file: str) -> list[str]:
    """The names of specs in a source, but for those that are listed above."""
    out = []
    for word in words:
        for name in NAMES:
            if names(word, name) and not (
                (file, name.text) in STRINGS if word.string else name.text in WORDS and not name.rare
            ):
                out.append(f"{file}:{word.line}: {word.text!r} ({name.text})")
    return out


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def test_the_names_are_found_in_the_specs() -> None:
    found = {name.text for name in NAMES}
    assert len(found) > 15
    for file in SPECS:
        text = file.read_text("utf-8")
        declarations = re.findall(r"^\s*(?:spec|entity|operation|attribute|condition) (\w+)", text, re.M)
        assert declarations
        assert set(declarations) <= found


@pytest.mark.parametrize("folder", ["compiler/m4c", "m4ls"])
def test_no_name_of_a_spec_is_in_the_python(folder: str) -> None:
    files = [p for p in PYTHON if relative(p).startswith(f"{folder}/")]
    assert files
    found = [leak for p in files for leak in leaks(python_words(p.read_text("utf-8")), relative(p))]
    assert not found, "\n".join(("read it from the schema, or say above why it is another word:", *found))


def test_no_name_of_a_spec_is_in_the_extension() -> None:
    assert TYPESCRIPT
    assert [leak for p in TYPESCRIPT for leak in leaks(typescript_words(p.read_text("utf-8")), relative(p))] == []


def test_no_name_of_a_spec_is_in_the_grammars_and_editors() -> None:
    """Of these only the rare names are looked for, in the whole text."""
    rare = [n for n in NAMES if n.rare]
    assert [
        f"{relative(p)}: {n.text}"
        for p in EDITORS
        for n in rare
        if names(Word(p.read_text("utf-8"), 1, string=True), n)
    ] == []


def test_every_exception_is_needed() -> None:
    """What no longer occurs leaves the list."""
    used: set[tuple[str, str]] = set()
    words: set[str] = set()
    for p in (*PYTHON, *TYPESCRIPT):
        words_of = python_words if p.suffix == ".py" else typescript_words
        for word in words_of(p.read_text("utf-8")):
            hits = {n.text for n in NAMES if names(word, n)}
            if word.string:
                used |= {(relative(p), text) for text in hits}
            else:
                words |= hits
    assert set(STRINGS) - used == set()
    assert set(WORDS) - words == set()


@pytest.mark.parametrize(
    "source",
    [
        'if operation.name == "DropRequest": pass',
        'message = f"use `AllowRequest` instead of {name}"',
        "def drop_request(): pass",
        "class EnvoyBackend: pass",
        'known = ("eBPF",)',
        "import x as envoy",
        'key = "verdict"',
        'key = f"{entity}.timeout[{k}]"',
        "timeout = 3",
        "match x:\n    case HttpRequest(): pass",
        'url = request["url_path"]',
        'x = "deny"',
    ],
)
def test_a_name_that_leaks_is_found(source: str) -> None:
    assert len(leaks(python_words(source), "somewhere.py")) >= 1


@pytest.mark.parametrize(
    "source",
    [
        '"""Drops, as `r.DropRequest()` does."""',
        "words = line.split()  # as Split does",
        'say("the status of the header")',
        'allow_more = "Allow more time"',
    ],
)
def test_plain_english_is_not_found(source: str) -> None:
    assert leaks(python_words(source), "somewhere.py") == []


def test_typescript_is_read() -> None:
    source = "// DropRequest\nconst a = `x ${b}`; /* envoy */ const envoyPath = 'verdict';\n"
    assert leaks(typescript_words(source), "x.ts") == ["x.ts:2: 'envoyPath' (envoy)", "x.ts:2: 'verdict' (verdict)"]
