"""Regular expressions of M4: RE2's syntax for a full match, without `\\b`, `\\B` and the classes of Unicode properties.

The parser follows RE2 where others differ: operators of repetition cannot be stacked, a `{` that begins no count is
itself, counts end at 1,000, `\\d \\w \\s` are ASCII, `$` is the end of the text and not of a line. What a match
captures and whether an operator is lazy does not matter for a full match, so both are read and dropped. `(?m)` changes
nothing either, because no value holds a newline.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from m4c.predicates.charset import LAST, CharSet, char_set, complement, fold_ascii, fold_unicode, lower_ascii

REPEAT_LIMIT = 1000  # RE2's limit for one count, and for the product of nested ones
NESTING_LIMIT = 100


class RegexError(ValueError):
    """A malformed regular expression, or one with a construct outside M4. `position` counts code points from 0."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message = message
        self.position = position

    def __str__(self) -> str:
        return f"{self.message} (at {self.position})"


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of a set."""

    chars: CharSet


@dataclass(frozen=True, slots=True)
class Seq:
    of: tuple[Regex, ...]


@dataclass(frozen=True, slots=True)
class Alt:
    of: tuple[Regex, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`low` to `high` times; no `high` is no end."""

    of: Regex
    low: int
    high: int | None


@dataclass(frozen=True, slots=True)
class Begin:
    """The empty word, at the start of the text only."""


@dataclass(frozen=True, slots=True)
class End:
    """The empty word, at the end of the text only."""


Regex: TypeAlias = Chars | Seq | Alt | Repeat | Begin | End

_DIGIT: CharSet = ((0x30, 0x39),)
_WORD: CharSet = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE: CharSet = ((0x09, 0x0A), (0x0C, 0x0D), (0x20, 0x20))
_SHORTHANDS = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_POSIX: dict[str, CharSet] = {
    "alnum": ((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)),
    "alpha": ((0x41, 0x5A), (0x61, 0x7A)),
    "ascii": ((0x00, 0x7F),),
    "blank": ((0x09, 0x09), (0x20, 0x20)),
    "cntrl": ((0x00, 0x1F), (0x7F, 0x7F)),
    "digit": _DIGIT,
    "graph": ((0x21, 0x7E),),
    "lower": ((0x61, 0x7A),),
    "print": ((0x20, 0x7E),),
    "punct": ((0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)),
    "space": ((0x09, 0x0D), (0x20, 0x20)),
    "upper": ((0x41, 0x5A),),
    "word": _WORD,
    "xdigit": ((0x30, 0x39), (0x41, 0x46), (0x61, 0x66)),
}
_CONTROLS = {"a": 0x07, "f": 0x0C, "t": 0x09, "n": 0x0A, "r": 0x0D, "v": 0x0B}
_NOT_NEWLINE: CharSet = complement(((0x0A, 0x0A),))
_ANY: CharSet = ((0, LAST),)

_COUNT = re.compile(r"\{([0-9]+)(,([0-9]*))?\}")
_POSIX_NAME = re.compile(r"\[:(\^?)([^\]]*?):\]")
_GROUP_NAME = re.compile(r"\?P?<([^>]*)>")
_GROUP_FLAGS = re.compile(r"\?([imsU]*)(-[imsU]+)?([:)])")
_LOOKAROUND = re.compile(r"\?<?[=!]")
_HEX = re.compile(r"\{([0-9A-Fa-f]+)\}|([0-9A-Fa-f]{2})")
_OCTAL = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}")


@lru_cache(maxsize=4096)
def parse_regex(source: str, fold: bool = False) -> Regex:
    """The syntax tree of a regular expression. With `fold`, ASCII case does not matter anywhere (for `istring`).

    Raises RegexError.
    """
    return _Parser(source, fold).parse()


def regex_head(source: str, fold: bool = False) -> str:
    """Characters with which every text begins that matches; with `fold`, in lower case. There may be more of them.

    Raises RegexError.
    """
    parsed = parse_regex(source, fold)
    head = ""
    for part in parsed.of if isinstance(parsed, Seq) else (parsed,):
        if isinstance(part, Begin):
            continue
        if not isinstance(part, Chars):
            break
        (low, high), *others = part.chars or ((0, 1),)
        only = lower_ascii(chr(low))
        if low != high or (others and not (fold and others == [(ord(only), ord(only))])):
            break
        head += only if fold else chr(low)
    return head


def check_regex(source: str) -> RegexError | None:
    """What is wrong with a regular expression, or None."""
    try:
        parse_regex(source)
    except RegexError as error:
        return error
    return None


class _Group:
    """An open group: the alternatives that are complete, and the items of the one being read.

    Beside each item stands how many copies of something inside it its nested counts make.
    """

    def __init__(self, position: int, flags: frozenset[str]) -> None:
        self.position = position
        self.flags = flags  # those outside the group, restored at its end
        self.alternatives: list[Regex] = []
        self.items: list[Regex] = []
        self.copies: list[int] = []
        self.most_copies = 1

    def push(self, item: Regex, copies: int = 1) -> None:
        self.items.append(item)
        self.copies.append(copies)

    def end_alternative(self) -> None:
        self.alternatives.append(self.items[0] if len(self.items) == 1 else Seq(tuple(self.items)))
        self.most_copies = max(self.most_copies, *self.copies, 1)
        self.items, self.copies = [], []

    def close(self) -> Regex:
        self.end_alternative()
        return self.alternatives[0] if len(self.alternatives) == 1 else Alt(tuple(self.alternatives))


class _Parser:
    """One pass over the source with a stack of open groups, so that nesting costs no recursion."""

    def __init__(self, source: str, fold: bool) -> None:
        self.source = source
        self.at = 0
        self.fold = fold
        self.flags: frozenset[str] = frozenset()
        self.groups = [_Group(0, self.flags)]
        self.names: set[str] = set()

    def parse(self) -> Regex:
        while self.at < len(self.source):
            self._item()
        if len(self.groups) > 1:
            raise RegexError("missing `)`", self.groups[-1].position)
        return self.groups[0].close()

    def _item(self) -> None:
        char = self.source[self.at]
        group = self.groups[-1]
        match char:
            case "(":
                self._open()
            case ")":
                self._close()
            case "|":
                group.end_alternative()
                self.at += 1
            case "*" | "+" | "?":
                self._repeat(*{"*": (0, None), "+": (1, None), "?": (0, 1)}[char], length=1)
            case "{" if count := _COUNT.match(self.source, self.at):
                self._counted(count)
            case "[":
                group.push(Chars(self._class()))
            case "\\":
                self._backslash(group)
            case ".":
                group.push(Chars(_ANY if "s" in self.flags else _NOT_NEWLINE))
                self.at += 1
            case "^" | "$":
                group.push(Begin() if char == "^" else End())
                self.at += 1
            case _:
                group.push(Chars(self._folded(((ord(char), ord(char)),))))
                self.at += 1

    # --- groups -------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        start = self.at
        outer = self.flags
        self.at += 1
        if self.source.startswith("?", self.at):
            if flags := _GROUP_FLAGS.match(self.source, self.at):
                on, off, end = flags.groups()
                self.flags = (self.flags | set(on)) - set(off or "")
                self.at = flags.end()
                if end == ")":  # until the end of the group around it
                    return
            elif name := _GROUP_NAME.match(self.source, self.at):
                if not re.fullmatch(r"\w+", name[1], re.ASCII):
                    raise RegexError("malformed group name", start)
                if name[1] in self.names:
                    raise RegexError(f"the group name `{name[1]}` occurs twice", start)
                self.names.add(name[1])
                self.at = name.end()
            elif _LOOKAROUND.match(self.source, self.at):
                raise RegexError("lookahead and lookbehind are not supported", start)
            else:
                raise RegexError("unknown kind of group", start)
        if len(self.groups) > NESTING_LIMIT:
            raise RegexError(f"groups are nested more than {NESTING_LIMIT} deep", start)
        self.groups.append(_Group(start, outer))

    def _close(self) -> None:
        if len(self.groups) == 1:
            raise RegexError("`)` without `(`", self.at)
        group = self.groups.pop()
        tree = group.close()
        self.groups[-1].push(tree, group.most_copies)
        self.flags = group.flags
        self.at += 1

    # --- repetition ---------------------------------------------------------------------------------------------------

    def _counted(self, count: re.Match[str]) -> None:
        low = int(count[1])
        high = low if count[2] is None else int(count[3]) if count[3] else None
        if high is not None and high < low:
            raise RegexError("the upper count is less than the lower", self.at)
        if max(low, high or 0) > REPEAT_LIMIT:
            raise RegexError(f"a count is larger than {REPEAT_LIMIT}", self.at)
        self._repeat(low, high, length=len(count.group()))

    def _repeat(self, low: int, high: int | None, length: int) -> None:
        start = self.at
        group = self.groups[-1]
        if not group.items:
            raise RegexError(f"nothing to repeat before `{self.source[start : start + length]}`", start)
        self.at += length
        if self.source.startswith("?", self.at):
            self.at += 1
        if self.at < len(self.source) and (self.source[self.at] in "*+?" or _COUNT.match(self.source, self.at)):
            raise RegexError("a repetition cannot be repeated; put it into a group", self.at)
        inner, copies = group.items.pop(), group.copies.pop()
        copies *= max(low, high or 0, 1)
        if copies > REPEAT_LIMIT:
            raise RegexError(f"nested counts multiply to more than {REPEAT_LIMIT}", start)
        group.push(Repeat(inner, low, high), copies)

    # --- characters ---------------------------------------------------------------------------------------------------

    def _folded(self, chars: CharSet) -> CharSet:
        if "i" in self.flags:
            return fold_unicode(chars)
        return fold_ascii(chars) if self.fold else chars

    def _backslash(self, group: _Group) -> None:
        letter = self.source[self.at + 1 : self.at + 2]
        if letter in ("A", "z"):
            group.push(Begin() if letter == "A" else End())
            self.at += 2
        elif letter == "Q":
            end = self.source.find("\\E", self.at + 2)
            quoted = self.source[self.at + 2 : end if end >= 0 else None]
            for char in quoted:
                group.push(Chars(self._folded(((ord(char), ord(char)),))))
            self.at = end + 2 if end >= 0 else len(self.source)
        else:
            group.push(Chars(self._shorthand() or self._one_escape()))

    def _shorthand(self) -> CharSet | None:
        """`\\d`, `\\D` and the like, or None."""
        letter = self.source[self.at + 1 : self.at + 2]
        chars = _SHORTHANDS.get(letter.lower())
        if chars is None:
            return None
        self.at += 2
        # RE2 folds before it negates, so that `(?i)\W` leaves out what `(?i)\w` takes in.
        return self._folded(chars) if letter.islower() else complement(self._folded(chars))

    def _one_escape(self) -> CharSet:
        code = self._escape()
        return self._folded(((code, code),))

    def _escape(self) -> int:
        """The one character that an escape stands for."""
        start = self.at
        letter = self.source[start + 1 : start + 2]
        self.at += 2
        if not letter:
            raise RegexError("the expression ends in a backslash", start)
        if letter in _CONTROLS:
            return _CONTROLS[letter]
        if letter == "x":
            digits = _HEX.match(self.source, self.at)
            if digits is None or int(digits[1] or digits[2], 16) > LAST:
                raise RegexError("malformed `\\x`: two hexadecimal digits, or {…} up to 10FFFF", start)
            self.at = digits.end()
            return int(digits[1] or digits[2], 16)
        if octal := _OCTAL.match(self.source, start + 1):
            self.at = octal.end()
            return int(octal.group(), 8)
        if letter == "_" or (letter.isascii() and not letter.isalnum()):
            return ord(letter)
        if letter in "bB":
            raise RegexError("word boundaries (`\\b`, `\\B`) are not part of M4", start)
        if letter in "123456789":
            raise RegexError("back references are not supported", start)
        if letter in "pP":
            raise RegexError("Unicode property classes are not supported", start)
        if letter == "C":
            raise RegexError("`\\C`, a single byte, is not part of M4: strings are compared by characters", start)
        raise RegexError(f"unknown escape `\\{letter}`", start)

    def _class(self) -> CharSet:
        start = self.at
        self.at += 1
        negated = self.source.startswith("^", self.at)
        self.at += negated
        chars: list[tuple[int, int]] = []
        first = True
        while first or not self.source.startswith("]", self.at):
            if self.at >= len(self.source):
                raise RegexError("missing `]`", start)
            chars.extend(self._class_item(start))
            first = False
        self.at += 1
        found = char_set(chars)
        return complement(found) if negated else found

    def _class_item(self, opening: int) -> CharSet:
        start = self.at
        if named := _POSIX_NAME.match(self.source, start):
            if named[2] not in _POSIX:
                raise RegexError(f"unknown character class `{named.group()}`", start)
            self.at = named.end()
            chars = self._folded(_POSIX[named[2]])
            return complement(chars) if named[1] else chars
        if self.source[start] == "\\" and (shorthand := self._shorthand()) is not None:
            return shorthand
        low = high = self._class_char(opening)
        if self.source.startswith("-", self.at) and not self.source.startswith("-]", self.at):
            self.at += 1
            high = self._class_char(opening)
            if high < low:
                raise RegexError("the range is empty", start)
        return self._folded(((low, high),))

    def _class_char(self, opening: int) -> int:
        if self.at >= len(self.source):
            raise RegexError("missing `]`", opening)
        if self.source[self.at] == "\\":
            return self._escape()
        self.at += 1
        return ord(self.source[self.at - 1])
