"""All analyses of one program."""

from __future__ import annotations

from dataclasses import replace

from m4c.analysis.live import Analysis
from m4c.analysis.questions import about
from m4c.semantics.model import Program
from m4c.semantics.problems import Problem

__all__ = ["about", "analyse"]


def analyse(program: Program) -> tuple[Problem, ...]:
    """Every finding about a program, from nothing."""
    return Analysis().update(replace(program, policies=()), (program.policies,))
