"""What the nodes of trees are made with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from dataclasses import dataclass as node
else:
    T = TypeVar("T")

    def node(*, frozen: bool, slots: bool) -> Callable[[type[T]], type[T]]:
        """A dataclass that is frozen for the type checker alone. Python's own way to enforce it takes most of the time
        that it takes to create a node, and there are hundreds of thousands."""
        return dataclasses.dataclass(slots=slots, unsafe_hash=frozen)


__all__ = ["node"]
