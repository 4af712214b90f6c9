"""What policies share without saying so: states that several use or that several elements keep, and other teams'
policies that one overrides."""

from __future__ import annotations

from collections.abc import Iterator

from m4c.analysis.effects import Effects, shares_writes
from m4c.paths.product import matching_hops
from m4c.semantics.model import STATE, OpCall, Policy, State, StateAtom, all_of, any_of, atoms
from m4c.semantics.problems import Problem, Related


def states_used(policy: Policy) -> frozenset[str]:
    """The states that a policy asks or changes."""
    conds = [policy.when, *(c.guard for c in policy.calls)]
    asked = {a.state for cond in conds for a in atoms(cond) if isinstance(a, StateAtom)}
    return frozenset(asked | {c.entity.removeprefix(STATE) for c in policy.calls if c.entity.startswith(STATE)})


def unsided_state(effects: Effects, policy: Policy) -> Problem | None:
    """`unsided-state`: a policy with a state, on a hop whose requests may be repeated, does not say at which side.

    What happens at ingress happens again with each repetition, what happens at egress does not.
    """
    if policy.side is not None or not states_used(policy):
        return None
    repeating = [
        (p, c)
        for p in effects.program.policies
        for c in p.calls
        for w in c.writes
        if "repeats" in effects.program.attribute(w.attr).roles and w.value != 0
    ]
    return next((p for other, call in repeating if (p := _unsided(effects, policy, other, call))), None)


def _unsided(effects: Effects, policy: Policy, other: Policy, call: OpCall) -> Problem | None:
    for at in effects.situations((policy.name, other.name), effects.relevant((policy.name, other.name))):
        used = any_of(*(effects.requested(policy, c, at) for c in policy.calls))
        found = effects.solve(all_of(used, effects.effective(other, call, at)), at)
        if found is None:
            continue
        witness = effects.witness(policy.entity, at, found)
        states = " and ".join(f"`{s}`" for s in sorted(states_used(policy)))
        message = (
            f"`{policy.name}` uses {states} on {witness}, where `{other.name}` may send a request several times. At "
            "ingress each of them counts, at egress all of them once: say `at ingress` or `at egress`"
        )
        related = (Related(call.place, f"`{other.name}` repeats requests here"),)
        return Problem("unsided-state", message, policy.place, related, (policy.name, other.name), witness)
    return None


def shared_states(effects: Effects, users: list[Policy], state: State) -> Iterator[Problem]:
    """`shared-state` and `split-state`, for one state: several policies use it; several elements keep one each."""
    if len(users) > 1:
        names = ", ".join(f"`{p.name}`" for p in users)
        message = f"`{state.name}` is one state that {names} use, so each sees what the others did"
        related = tuple(Related(p.place, f"`{p.name}` uses it") for p in users)
        yield Problem("shared-state", message, state.place, related, tuple(p.name for p in users))
    at: dict[str, Policy] = {}
    for policy in users:
        for (caller, callee), _ in matching_hops(effects.dfa(policy.pattern), effects.program.graph):
            site = caller if policy.side == "egress" else callee
            if site is not None:
                at.setdefault(site, policy)
    if len(at) > 1:
        sites = sorted(at)
        some = ", ".join(sites[:4]) + (f" and {len(sites) - 4} more" if len(sites) > 4 else "")
        message = (
            f"`{state.name}` is kept by each element by itself, and it is used at {len(sites)} services ({some}): what "
            "it counts or limits is counted or limited at each of them"
        )
        related = tuple(Related(p.place, f"`{p.name}` uses it") for p in dict.fromkeys(at.values()))
        yield Problem("split-state", message, state.place, related, tuple(p.name for p in dict.fromkeys(at.values())))


def foreign_override(effects: Effects, policy: Policy, other: Policy) -> Problem | None:
    """`foreign-override`: a policy takes out what another team's policy asks for."""
    names = (policy.name, other.name)
    for at in effects.situations(names, effects.relevant(names)):
        drops = [
            all_of(effects.requested(policy, c, at), effects.requested(other, d, at))
            for c in policy.calls
            for d in other.calls
            if shares_writes(c, d)
        ]
        found = effects.solve(any_of(*drops), at)
        if found is not None:
            witness = effects.witness(policy.entity, at, found)
            message = (
                f"`{policy.name}` of {policy.owner} overrides `{other.name}` of {other.owner}, for instance on "
                f"{witness}; make sure that they know"
            )
            related = (Related(other.place, f"`{other.name}` of {other.owner}"),)
            return Problem("foreign-override", message, policy.place, related, names, witness)
    return None
