"""Exact satisfiability of conditions, and their plainest witnesses."""

from m4c.predicates.atoms import Schema, holds
from m4c.predicates.automata import STATE_LIMIT, TooComplex
from m4c.predicates.dfa import regex_fault, regex_matches
from m4c.predicates.outlines import PLAIN, Outline, Outlines, outline_of
from m4c.predicates.regex import RegexError, check_regex
from m4c.predicates.solve import Assignment, Solver, equivalent, implies, overlaps, satisfiable, satisfy
from m4c.semantics.model import ABSENT, Absent

__all__ = [
    "ABSENT",
    "PLAIN",
    "STATE_LIMIT",
    "Absent",
    "Assignment",
    "Outline",
    "Outlines",
    "RegexError",
    "Schema",
    "Solver",
    "TooComplex",
    "check_regex",
    "equivalent",
    "holds",
    "implies",
    "outline_of",
    "overlaps",
    "regex_fault",
    "regex_matches",
    "satisfiable",
    "satisfy",
]
