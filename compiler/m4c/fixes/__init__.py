"""How to mend problems: text edits that an editor and `m4 check --fix` make alike.

A problem that turns on its own text alone brings its fixes along. What is here needs more: the text around it, other
declarations, or the meaning of the program with the fix made. It is asked for the problems that somebody looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from m4c.db import Database
from m4c.fixes import clauses, dead, files, orders, planning
from m4c.fixes.scene import Beside, Scene
from m4c.predicates import TooComplex
from m4c.semantics.problems import Fix, Problem

_MAKERS: dict[str, Callable[[Scene], Iterable[Fix]]] = {
    "bad-annotation": clauses.bad_annotation,
    "connection-pattern": clauses.connection_pattern,
    "contradiction": orders.contradiction,
    "dead-condition": dead.dead_condition,
    "dead-path": dead.dead_path,
    "duplicate-name": clauses.duplicate_name,
    "missing-declaration": files.missing_declaration,
    "missing-file": files.missing_file,
    "order-dependent": orders.order_dependent,
    "override-cycle": orders.override_cycle,
    "redundant": dead.redundant,
    "reserved": clauses.reserved,
    "shadowed": orders.shadowed,
    "suppressed": dead.suppressed,
    "type-mismatch": clauses.type_mismatch,
    "unenforceable": planning.unenforceable,
    "unknown-version": clauses.unknown_version,
    "unpropagated-read": planning.unpropagated_read,
    "unsided-state": clauses.unsided_state,
    "wrong-side": clauses.wrong_side,
}


def fixes(db: Database, problem: Problem, beside: Beside = lambda folder: ()) -> tuple[Fix, ...]:
    """The ways to mend a problem, the best first; none where only its author can know.

    `beside`: the names of the files in a folder; without it nothing is known of files that the program does not name.
    """
    if problem.pairs > 1:
        return ()  # each pair has its own
    make = _MAKERS.get(problem.code)
    made: list[Fix] = []
    if make is not None:
        with suppress(TooComplex):  # what the changed program would mean cannot be told
            made += make(Scene(db, problem, beside))
    found = {f.edits: f for f in (*problem.fixes, *made) if f.edits}
    return tuple(found.values())
