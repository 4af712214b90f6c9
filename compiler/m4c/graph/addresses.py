"""Finds the hosts that a setting names: `cart:7070`, `http://cart/`, `cart.shop.svc.cluster.local`, lists of them, and
the connection strings of databases and brokers.

A setting is text for a program that is not known here, so only a host that stands where hosts stand is certain. A bare
word, as in `REDIS=redis`, counts only if the setting is called after an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_URL = re.compile(
    r"(?<![A-Za-z0-9+.-])(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://+(?:[^\s/?#@\"']*@)?(?P<hosts>[^\s/?#\"'<>();&|\\]+)"
)
_HOST_PORT = re.compile(r"(?<![\w./-])(?P<host>[A-Za-z0-9](?:[\w.-]*\w)?):\d{1,5}(?![\w.-])")
_CLUSTER = re.compile(r"(?<![\w.-])(?P<host>[A-Za-z0-9](?:[\w-]*\w)?(?:\.[A-Za-z0-9](?:[\w-]*\w)?)+)(?![\w-])")
_FIELD = re.compile(r"(?i)(?<![\w-])(?:host|server|hostaddr|data source|bootstrap\.servers)\s*=\s*(?P<host>[\w.-]+)")
_BARE = re.compile(r"[\w.-]+(?:\s*[,;]\s*[\w.-]+)*")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NO_HOSTS = frozenset(("file", "unix", "data", "mailto", "classpath"))
_ADDRESS = re.compile(
    r"addr(?:ess)?(?:es)?|api|backends?|bootstrap|brokers?|connection|dns|domain|dsn|endpoints?|fqdn|hostnames?|"
    r"hosts?|link|nodes?|peers?|proxy|seeds?|servers?|services?|targets?|upstreams?|uris?|urls?"
)
_OTHER = re.compile(
    r"account|bucket|collection|database|db|dbname|group|id|index|key|keyspace|label|login|mode|name|namespace|"
    r"pass(?:w(?:or)?d)?|path|prefix|profile|queue|region|role|schema|secret|stream|subject|tag|token|topic|type|"
    r"user(?:name)?|version"
)


def hosts(setting: str, value: str) -> tuple[list[str], list[str]]:
    """The hosts that a setting names, and the words that may be hosts: in lower case, in order, whatever they are."""
    words = [w.lower() for w in _WORD.findall(setting)]
    if "image" in words:  # `redis:6` is no address there
        return [], []
    found = certain(value)
    if found or not _BARE.fullmatch(value.strip()) or (words and _OTHER.fullmatch(words[-1])):
        return found, []
    bare = [w.lower() for w in re.split(r"\s*[,;]\s*", value.strip())]
    return (bare, []) if any(_ADDRESS.fullmatch(w) for w in words) else ([], bare)


def certain(value: str) -> list[str]:
    """The hosts that a value surely names, in lower case, in order."""
    found: dict[str, None] = {}
    for m in _URL.finditer(value):
        if m["scheme"].lower() not in _NO_HOSTS:
            found |= dict.fromkeys(_hosts(m["hosts"]))
    for pattern in (_HOST_PORT, _FIELD):
        found |= dict.fromkeys(m["host"].lower() for m in pattern.finditer(value))
    found |= dict.fromkeys(m["host"].lower() for m in _CLUSTER.finditer(value) if "svc" in m["host"].split("."))
    return list(found)


def _hosts(authority: str) -> Iterator[str]:
    """`a:1,b:2` names two hosts."""
    for part in authority.split(","):
        m = re.fullmatch(r"(?:.*@)?([^:@]+)(?::\d+)?", part)
        if m is not None:
            yield m[1].lower()
