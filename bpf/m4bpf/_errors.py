"""The one error of this package."""

from __future__ import annotations


class KernelError(Exception):
    """The kernel, its compiler or its tools refused something.

    ``message`` is one sentence for a person; ``detail`` is what the tool said (the last lines of it), possibly empty.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.message}\n{self.detail}" if self.detail else self.message
