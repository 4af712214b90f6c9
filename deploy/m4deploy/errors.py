"""What a deployment that fails tells its user."""

from __future__ import annotations


class DeployError(Exception):
    """A deployment cannot be made, or was undone: one line on what is wrong, the tool's own words, and a way out.

    `changed`: the machine is not as if nothing had been tried; the hint says how it is. `words`: what a dataplane that
    does not take the files of an element says of them, in one line.
    """

    def __init__(
        self, message: str, detail: str = "", hint: str = "", *, changed: bool = False, words: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint
        self.changed = changed
        self.words = words

    def __str__(self) -> str:
        detail = "".join(f"\n    {line}" for line in self.detail.strip().splitlines())
        return f"{self.message}{detail}" + (f"\n{self.hint}" if self.hint else "")


class Rejected(DeployError):
    """A dataplane does not take the files of an element."""

    def __init__(self, message: str, detail: str, hint: str, words: str) -> None:
        super().__init__(message, detail, hint, words=words)
