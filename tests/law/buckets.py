"""What token buckets answer that fill by a token an hour: what they hold is known, as nothing comes meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from m4c.paths.callpath import CallPath
from m4c.predicates.atoms import cut_at, view_of
from m4c.reference import Trace, matches, run_hop, trace
from m4c.semantics.model import ABSENT, AttrKey, Policy, Program, State, StateAtom, Value, atoms
from m4deploy.proof import ENTITY

Values: TypeAlias = Mapping[AttrKey, Value]
Answers: TypeAlias = dict[StateAtom, bool]


def questions(program: Program) -> Sequence[tuple[Policy, StateAtom]]:
    """What policies ask states."""
    found = {
        (p, a): None
        for p in program.policies
        for cond in (p.when, *(c.guard for c in p.calls))
        for a in atoms(cond)
        if isinstance(a, StateAtom)
    }
    return tuple(found)


def asked_at_most_once(program: Program, path: CallPath) -> bool:
    """Whether one answer for each question tells what happens on a path: no policy that asks can fire on two hops."""
    prefixes = tuple(path.prefixes())
    return all(sum(matches(p.pattern, prefix, program) for prefix in prefixes) < 2 for p, _ in questions(program))


class Buckets:
    """The token buckets of a deployed mesh: each is one element's, at the caller, and one for each value of what it is
    kept `per`. Each is asked by one policy, so which policy asks first does not matter."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._states: dict[str, State] = {s.name: s for s in program.states}
        self._questions = questions(program)
        self._left: dict[tuple[str, str | None, Value], int] = {}
        self.asked = 0

    def answers(self, path: CallPath, values: Values) -> Answers:
        """What a request is answered on its way, which takes the tokens that it gets."""
        found: Answers = {}
        for prefix in path.prefixes():
            so_far = trace(self._program, prefix, values, ENTITY, found)
            if not self._arrives(so_far, prefix):
                break
            come = {**values, **so_far.hops[-1].carried}
            for policy, atom in self._questions:
                if matches(policy.pattern, prefix, self._program) and self._depends(prefix, come, policy, atom):
                    found[atom] = self._take(atom, prefix.hop[0], come)
        return found

    def _arrives(self, so_far: Trace, path: CallPath) -> bool:
        """Whether anybody sees the request on the last hop of a path."""
        last = so_far.hops[-1]
        return len(so_far.hops) == len(tuple(path.prefixes())) and not any(c.terminal for c in last.carriers)

    def _depends(self, path: CallPath, come: Values, policy: Policy, atom: StateAtom) -> bool:
        """Whether what a policy requests depends on an answer; where it does not, nothing is asked."""
        results = (run_hop(self._program, path, come, {atom: answer}, ENTITY) for answer in (True, False))
        one, other = ({call for call in result.requested if call[0] == policy.name} for result in results)
        return one != other

    def _take(self, atom: StateAtom, caller: str | None, come: Values) -> bool:
        state = self._states[atom.state]
        key = (atom.state, caller, self._kept_for(state, come))
        burst = dict(state.args)["burst"]
        assert isinstance(burst, int)
        left = self._left.get(key, burst)
        self.asked += 1
        self._left[key] = max(0, left - 1)
        return left > 0

    def _kept_for(self, state: State, come: Values) -> Value:
        if state.per is None:
            return ABSENT
        view = view_of(AttrKey(ENTITY, *state.per), self._program.attribute)
        value = come.get(view.source, ABSENT)
        return cut_at(value, view.cuts) if isinstance(value, str) else value
