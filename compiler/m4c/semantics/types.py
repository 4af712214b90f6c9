"""Values and types of M4.

Constants are plain Python values, told apart by the declared `Type`: string and istring `str`, int `int`, bool `bool`,
duration `int` (nanoseconds), percent `int` (hundredths of a percent), rate `tuple[int, int]` (count, nanoseconds), an
enum's value and a version `str`, set a sorted `tuple`, map a `tuple` of `(key, value)` sorted by key. `ABSENT` is the
value of an optional attribute that is not there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum as PythonEnum
from typing import Final, Literal, TypeAlias


class Absent(PythonEnum):
    """The type of ABSENT, which stands for the absence of an optional attribute where a value could stand."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final[Literal[Absent.ABSENT]] = Absent.ABSENT

Value: TypeAlias = "str | int | bool | Absent | tuple[Value, ...]"


@dataclass(frozen=True, slots=True)
class Type:
    """A type of M4: `string`, `map<version, percent>`, `string?`, `string in r"[A-Z]+"`, or the name of an enum.

    What limits its values: `domain`, a regular expression (RE2, full match); `low` and `high`, the ends of a range that
    belong to it; `among`, a list of values in the order of the text. `said` is that as the text says it.
    """

    name: str
    args: tuple[Type, ...] = ()
    optional: bool = False
    domain: str | None = None
    excluded: tuple[str, ...] = ()  # values that may not be named (`except ["connection"]`)
    low: int | None = None
    high: int | None = None
    among: tuple[Value, ...] | None = None
    said: str = field(default="", compare=False)

    def admits(self, value: Value) -> bool:
        """Whether a value is in the range or the list. (What a regular expression says of it is not asked here.)"""
        below = isinstance(value, int) and self.low is not None and value < self.low
        above = isinstance(value, int) and self.high is not None and value > self.high
        return not below and not above and (self.among is None or value is ABSENT or value in self.among)

    def __str__(self) -> str:
        args = f"<{', '.join(map(str, self.args))}>" if self.args else ""
        said = self.said or (f'r"{self.domain}"' if self.domain is not None else "")
        domain = f" in {said}" if said else ""
        return f"{self.name}{args}{'?' if self.optional else ''}{domain}"
