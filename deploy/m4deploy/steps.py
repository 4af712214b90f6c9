"""The steps of a deployment, by name, and a way to see what becomes of one that is killed at any of them.

With `M4_KILL_AT=WHO:STEP` in the environment of the command that deploys, WHO kills itself (SIGKILL) when STEP is done:
`command`, or `supervisor`, the process that owns the mesh. Without it nothing here does anything.
"""

from __future__ import annotations

import os
import signal

KILL_AT = "M4_KILL_AT"

COMMAND = ("copy", "ask", "confirm")
UPDATE = ("prepare", "validate", "load", "swap", "verify", "confirm", "commit", "settle")  # the supervisor's
LAUNCH = ("prepare", "yield", "start", "confirm", "commit")  # the supervisor's of a new start


def reached(who: str, step: str, kill_at: str | None) -> None:
    """Says that a step is done."""
    if kill_at == f"{who}:{step}":
        os.kill(os.getpid(), signal.SIGKILL)
