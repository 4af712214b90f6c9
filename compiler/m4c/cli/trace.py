"""`m4 trace`: the reference interpreter on one call path."""

from __future__ import annotations

import argparse
import sys

from m4c.cli.common import choose_mesh, open_workspace
from m4c.cli.errors import UsageError
from m4c.cli.inputs import read_inputs
from m4c.cli.output import print_json
from m4c.ide.evaluate import CannotEvaluate, traceable
from m4c.reference import may_end, trace
from m4c.testing import answering
from m4c.tracing import trace_json, trace_text


def run(args: argparse.Namespace) -> int:
    workspace = open_workspace([args.path])
    mesh = choose_mesh(workspace, args.mesh)
    try:
        program, left_out = traceable(workspace, mesh)
    except CannotEvaluate as e:
        raise UsageError(str(e)) from None
    for name in left_out:
        print(f"m4: `{name}` has errors and is not traced as it stands; `m4 check` shows them", file=sys.stderr)
    inputs = read_inputs(program, args)
    states = answering(program, inputs.states)
    result = trace(program, inputs.path, inputs.values, inputs.entity, states)
    here = [program.graph.services[s] for s in inputs.path.services]
    asking = {p.name for p in program.policies if any(may_end(p.pattern, s) for s in here)}
    states = {atom: answer for atom, answer in states.items() if atom.policy in asking}
    if args.format == "json":
        print_json(trace_json(program, result, states))
    else:
        print(trace_text(program, result, states), end="")
    return 0
