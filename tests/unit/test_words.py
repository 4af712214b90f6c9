"""Words that stand between quotes as names."""

from __future__ import annotations

import subprocess
import sys

from m4c.syntax import words
from m4c.syntax.parser import grammar


def test_the_reserved_words_are_those_of_the_grammar() -> None:
    known = {p.pattern.value for p in grammar().terminals if p.pattern.type == "str"}
    assert {w for w in known if w.isidentifier()} == words._keywords()
    assert "policy" in words._keywords() and "contains" not in words._keywords()


def test_names_are_written_without_the_parser() -> None:
    code = """if True:
        import sys
        from m4c.syntax import words
        print(words.name("policy"), words.name("a"), words.service("a-b"), "lark" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == '"policy" a a-b False\n'
