"""What a command that cannot run raises."""

from __future__ import annotations


class UsageError(Exception):
    """The command cannot run; the message says why and what to do. Exit code 2."""
