"""Of very many things by number those of which the conditions can hold together; of few all."""

from __future__ import annotations

from m4c.predicates import Outline, Outlines

FEW = 12  # numbers that are looked at one by one


class Alike:
    """Some numbers, each with the outline of a condition."""

    def __init__(self) -> None:
        self._all: dict[int, Outline] = {}
        self._outlines: Outlines[int, None] | None = None  # made when there are many

    def __len__(self) -> int:
        return len(self._all)

    def put(self, number: int, outline: Outline) -> None:
        """Adds a number, or gives it another outline."""
        if self._outlines is not None:
            if number in self._all:
                self._outlines.remove(number)
            self._outlines.add(number, None, outline)
        self._all[number] = outline

    def meeting(self, outline: Outline) -> list[int]:
        """In order, at least those of which the condition can hold together with one of this outline."""
        if len(self._all) <= FEW:
            return sorted(self._all)
        if self._outlines is None:
            self._outlines = Outlines()
            for number, its in self._all.items():
                self._outlines.add(number, None, its)
        return sorted(self._outlines.meeting(outline))
