"""What the `m4` command offers but the compiler does not know: the language server, the targets of deployments.

They stand above the compiler, so it names no package of theirs. Whoever provides one says so in its package's metadata,
as an entry point of the group `m4.plugins`, and is imported when a command needs it.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import Any

from m4c.cli.errors import UsageError

GROUP = "m4.plugins"


@cache  # packages are looked through for it, and none comes while a process runs
def plugin(name: str, what: str) -> Any:
    """What is registered under a name, imported now; a usage error that names `what` if nothing can be."""
    for found in entry_points(group=GROUP, name=name):
        try:
            return found.load()
        except ImportError as e:
            raise UsageError(f"{what} cannot be loaded: {e}") from None
    raise UsageError(f"{what} is not installed: no package registers `{name}` in {GROUP}; install `xmesh` again")
