"""Values, names and texts that no sound client sends."""

from __future__ import annotations

from typing import Any

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 2**31, 2**63, 10**30, "", "é", "\ud800", "\0", "x" * 5000, "file:///"),
    *([], {}, [[]], {"a": None}, ["file:///nowhere"], {"line": 0, "character": 0}),
)
URIS = (
    *("", "x", "file:", "file:///", "file:///nowhere/at/all.m4", "file:///tmp", "untitled:Untitled-1", "http://h/a.m4"),
    *("file://host/a.m4", "file:///%00.m4", "file:///%zz%e9%ff.m4", "file:///a%20b/\ud83d\ude00.m4", "://", "\0"),
    *("file:///%ed%a0%80.m4", "file:///" + "a" * 300 + ".m4", "file:///" + "d/" * 3000 + "x.m4", "git:/a.m4?{}"),
    *("file:////////..//x.m4", "/tmp/../tmp/x.m4", "file:///nowhere/shop.graph.yaml", "file:///dev/null"),
    "file:///C:/x.m4",
)
FAULTS = (
    *(
        "\ud800",
        "\udfff\ud800",
        "\0\0",
        "\r",
        "\r\n\r",
        "\u2028",
        "\ufeff",
        "/*" * 50,
        '"' * 41,
        "{" * 3000,
        "(" * 3000,
    ),
    *("!" * 5000 + "x", "a -> " * 3000, "policy p (HttpRequest r) on " + "(" * 500, "// \ud83d", "9" * 30),
    *('r"' + "(" * 40 + '"', "\t" * 10_000, "é" * 20_000, "x" * 120_000),
    *('\nimport "\0.m4";\n', '\nimport "\ud800.m4";\n', '\nmesh s { graph "\0"; }\n', f'\nimport "{"a" * 300}.m4";\n'),
)
