"""Every code that xMesh reports. Messages are made where a problem is found; what they have in common stands here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from m4c.diagnostics.examples import example


class Severity(IntEnum):
    """As in the language server protocol."""

    ERROR = 1
    WARNING = 2
    INFORMATION = 3
    HINT = 4

    @property
    def word(self) -> str:
        return LEVELS[self.value - 1]


LEVELS = ("error", "warning", "information", "hint")


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of diagnostic. `why` says why it matters, `mend` what to do.

    `pairs`: for kinds that are about two policies each, what to say of many of them.
    """

    code: str
    title: str
    severity: Severity
    why: str
    mend: str
    unnecessary: bool = False  # editors may fade the text
    deprecated: bool = False  # editors may strike the text through
    blocks_plan: bool = False  # a program with it has no meaning that could be planned
    pairs: str = ""
    since: str = "0.1.0"  # the version that reports it first
    in_program: bool = True  # a comment where it stands is read, and may suppress it

    @property
    def configurable(self) -> bool:
        """Whether a project may take it for better or worse: not what is an error of the language, for with that a
        program has no meaning that could be relied on."""
        return self.severity != Severity.ERROR

    @property
    def suppressible(self) -> bool:
        """Whether a comment with a reason may suppress one of them."""
        return self.configurable and self.in_program


_E, _W, _I, _H = Severity.ERROR, Severity.WARNING, Severity.INFORMATION, Severity.HINT

RULES: dict[str, Rule] = {
    r.code: r
    for r in (
        Rule(
            "contradiction",
            "Two policies want different things",
            _E,
            "On the call path and request of the witness both policies fire, and both write an attribute that has no "
            "merge. Whatever a dataplane did, one of the two authors would be wrong about the mesh.",
            "Say which policy wins with `overrides`, or narrow a pattern or a condition so that they no longer meet.",
            blocks_plan=True,
            pairs="{policies} write {about} and contradict one another",
        ),
        Rule(
            "order-dependent",
            "The result depends on an order that nobody gave",
            _E,
            "One policy writes what another one reads. Policies have no order by themselves, so what the second one "
            "does would depend on the dataplane.",
            "Say `after` in one of the two.",
            blocks_plan=True,
            pairs="{policies} write {about} or read it, in no order,",
        ),
        Rule(
            "shadowed",
            "A policy never takes effect",
            _W,
            "It fires somewhere, but other policies override everything that it requests, everywhere.",
            "Remove it, or take back an `overrides`.",
            unnecessary=True,
        ),
        Rule(
            "suppressed",
            "An operation that never has an effect",
            _W,
            "It is requested somewhere, but always beside something that ends the request; nothing else happens then.",
            "Move it to where requests go on, or remove it.",
            unnecessary=True,
        ),
        Rule(
            "redundant",
            "A policy changes nothing",
            _H,
            "Without it every request would be treated as it is now.",
            "Remove it.",
            unnecessary=True,
        ),
        Rule(
            "merged",
            "A merge decides between two writes",
            _I,
            "Both policies write the attribute; the spec says how such values merge (the smallest, the largest, …).",
            "Nothing, if the merged value is what both authors expect.",
            pairs="{policies} write {about}, and its merge decides",
        ),
        Rule(
            "dead-path",
            "No call path matches the pattern",
            _W,
            "The graph has no such path, so the policy never fires, or the mesh's default never applies. One that "
            "should protect something does not.",
            "Correct the pattern, or the graph.",
            unnecessary=True,
        ),
        Rule(
            "unknown-label",
            "No service has a label",
            _W,
            "A step that asks for it selects no service, and `!` of it selects every one: the pattern says something "
            "else than it reads, and a default of the mesh that should protect something may not.",
            "Correct the label, or give it to services in the graph.",
        ),
        Rule(
            "dead-condition",
            "A condition is constant",
            _W,
            "It holds for every request, or for none.",
            "Correct it, or leave it out.",
        ),
        Rule(
            "deprecated",
            "Something deprecated is used",
            _W,
            "Its spec says that there is something better, or that it will go. Until then it means what it meant.",
            "Do what the message says; the documentation of the declaration begins a paragraph with `Deprecated:`.",
            deprecated=True,
        ),
        Rule(
            "bad-annotation",
            "An annotation says nothing",
            _W,
            "Nobody asks for what it says, so the program means what it would mean without it: a misspelled `@owner` "
            "leaves a policy without a team, and nobody is told when another team overrides it.",
            "Correct it, or leave it out; what is a note for people goes into a comment.",
        ),
        Rule(
            "unsided-state",
            "A state where requests may be repeated",
            _E,
            "Retries repeat what happens at ingress and not what happens at egress, so what the state counts or limits "
            "depends on where the policy runs.",
            "Say `at ingress` (every attempt counts) or `at egress` (the request counts once).",
        ),
        Rule(
            "shared-state",
            "Several policies use one state",
            _I,
            "Each sees what the others did to it: a token that one takes is gone for the others.",
            "Nothing, if that is meant; else declare a state for each.",
        ),
        Rule(
            "split-state",
            "A state is kept in several places",
            _I,
            "State belongs to an element; a limit of 100/s at three services allows 300/s in all.",
            "Nothing, if that is meant; else narrow the patterns to hops that meet at one service.",
        ),
        Rule(
            "foreign-override",
            "A policy overrides another team's",
            _I,
            "The owners (`@owner`) differ, and there is a request on which one takes out what the other asks for.",
            "Agree with the other team, or narrow the pattern.",
            pairs="{policies} override, or are overridden by, other teams' policies",
        ),
        Rule(
            "timeout-inversion",
            "A later hop may take longer than an earlier one waits",
            _W,
            "The earlier caller gives up first; what the later services still do is for nobody.",
            "Give later hops the shorter time-outs.",
            pairs="{policies} let a later hop take longer than an earlier one waits",
        ),
        Rule(
            "retry-amplification",
            "Retries of retries",
            _W,
            "When the last service fails, each hop multiplies the requests: retries turn a failure into an overload.",
            "Let one hop of a path repeat requests, best the first or the last.",
            pairs="{policies} repeat requests that others repeat",
        ),
        Rule(
            "overwritten-header",
            "A header is overwritten before a later hop asks for it",
            _W,
            "The mesh says that applications hand the header on, so later hops see what the policy wrote and not what "
            "the client sent.",
            "Use another header, or match before it is overwritten.",
            pairs="{policies} write header {about} or ask for it on a later hop",
        ),
        Rule(
            "unpropagated-read",
            "A header is written on one hop and asked for on a later one",
            _W,
            "What a policy writes is for one hop. Nothing says that the application hands the header on.",
            "List the header under `propagate` if the applications hand it on; else use a mark.",
            pairs="{policies} write header {about} or ask for it on a later hop",
        ),
        Rule(
            "unenforceable",
            "No dataplane can do this here",
            _E,
            "No dataplane of the mesh, at any place where it may stand, can read or write what the policy needs, or "
            "speaks what the service does (`protocol:` in the graph); or the context of the call path is lost on the "
            "way.",
            "Add a dataplane to the mesh, lift a `place` restriction, correct `protocol:`, leave the service out of "
            "the pattern, or let the service hand the context on.",
        ),
        Rule(
            "override-cycle",
            "`overrides` or `after` go round",
            _E,
            "There is no order that satisfies them all.",
            "Remove one of them from the circle.",
            blocks_plan=True,
        ),
        Rule(
            "syntax-error",
            "The text is not M4",
            _E,
            "The statement cannot be read; everything around it is still checked.",
            "Correct what is marked, the first finding first; the page of the language shows how all is written.",
        ),
        Rule(
            "unknown-name",
            "A name stands for nothing",
            _E,
            "It is not declared in any file of the workspace, in the specs of the mesh, or in its graph.",
            "Correct the name, or declare it.",
        ),
        Rule(
            "unknown-version",
            "A service has no such version",
            _E,
            "Requests would be sent to instances that do not exist.",
            "Name a version that the graph gives the service, or add it to the graph.",
        ),
        Rule(
            "type-mismatch", "A value has the wrong type", _E, "Nothing converts silently.", "Give a value of the type."
        ),
        Rule(
            "duplicate-name",
            "A name is declared twice",
            _E,
            "It would be unclear which of the two is meant.",
            "Rename or remove one of the two.",
        ),
        Rule(
            "missing-argument",
            "An argument is missing",
            _E,
            "The operation cannot be performed without it.",
            "Give it between the parentheses, at its place or as `NAME: VALUE`.",
        ),
        Rule(
            "missing-declaration",
            "Something is not declared",
            _E,
            "Without it the rest cannot be understood.",
            "Declare it.",
        ),
        Rule(
            "wrong-side",
            "The operation does not happen on that side",
            _E,
            "An operation may be bound to the caller's side of a hop (egress) or to the callee's (ingress).",
            "Leave out `at`, or name the other side.",
        ),
        Rule(
            "connection-pattern",
            "A connection has no call path",
            _E,
            "One connection carries requests of many call paths, so a policy about it can tell its two ends only.",
            "Name two services, as in `A -> B` or `? -> F`, or make it a policy about requests.",
        ),
        Rule(
            "failed-test",
            "A test does not come out as it expects",
            _E,
            "The interpreter makes the request of the test along its call path, and what it comes to is not what the "
            "`expect` says. Either the policies do something else than they should, or the test is wrong.",
            "Look at the policies that fire on the way, which `m4 test` shows hop by hop; correct them, or the test.",
        ),
        Rule(
            "incomplete-test",
            "A test shows nothing",
            _E,
            "A `request` without an `expect` behind it is held to nothing, and an `expect` without a `request` before "
            "it is about nothing.",
            "Add what is missing, or remove the rest.",
        ),
        Rule(
            "not-a-path",
            "A test names no call path",
            _E,
            "A test makes one request along one call path of the graph. It starts at an entry, behind `outside`, or at "
            "a service that may start a chain by itself, and each of its steps is a call.",
            "Name the services of a call path, one by one.",
        ),
        Rule(
            "reserved-key",
            "This header cannot be read or written",
            _E,
            "Framing and hop-by-hop headers, and those that carry context, belong to the dataplanes. How a gRPC call "
            "ended comes behind its messages, where no policy looks.",
            "Use another header.",
        ),
        Rule(
            "weights-sum",
            "Shares do not sum to 100%",
            _E,
            "Some requests would go nowhere, or some shares would not be what they say.",
            "Correct the shares.",
        ),
        Rule(
            "bad-regex",
            "Not a regular expression",
            _E,
            "Regular expressions are RE2's.",
            "Correct the expression.",
            blocks_plan=True,
        ),
        Rule(
            "too-complex",
            "A condition is too complex",
            _E,
            "Its automaton would pass 10,000 states.",
            "Write it more simply.",
            blocks_plan=True,
        ),
        Rule(
            "which-mesh",
            "It is unclear to which mesh this belongs",
            _E,
            "The workspace has several meshes, and the file does not say which one it is part of.",
            "Put `mesh NAME;` at the top of the file.",
        ),
        Rule("missing-file", "A file is missing", _E, "What it says is not known.", "Correct the path, or create it."),
        Rule(
            "bad-template",
            "A template has a mistake",
            _E,
            "Nothing can be made from it: each build for an element that needs it fails.",
            "Correct the template. What templates get is in the how-to page on new dataplanes.",
        ),
        Rule(
            "rejected-artifact",
            "A dataplane does not take what it would get",
            _E,
            "The dataplane's own validation refuses an artifact, so no deployment with it begins. It is found by "
            "`m4 build --validate`, and in an editor after files are saved, where the workspace is trusted and the "
            "dataplane is installed; `m4 check` runs no template, so it says nothing of it.",
            "Correct the template at the line that is shown, or what the spec or the policy hands to it. `m4 build` "
            "writes what was refused.",
        ),
        Rule(
            "unreadable-file",
            "A file cannot be read",
            _E,
            "What it declares is not known.",
            "Allow reading it, or take it out of the workspace.",
        ),
        Rule("bad-encoding", "A file is not UTF-8", _E, "Its text cannot be read.", "Save it as UTF-8."),
        Rule("too-large", "A file is too large", _E, "It is not read.", "Split it, or exclude it."),
        Rule(
            "bad-graph",
            "The graph is not well formed",
            _E,
            "Call paths cannot be known.",
            "Correct the file: `services:` is a map, `calls:` a list.",
        ),
        Rule(
            "assumed-entries",
            "Entries are guessed",
            _I,
            "No service of the graph says where outside traffic comes in, so the services that nobody calls are taken.",
            "Say `entry: true` where traffic comes in.",
            in_program=False,
        ),
        Rule(
            "unreachable-service",
            "No call path reaches a service",
            _W,
            "It never starts a chain of requests by itself, outside traffic does not come in there, and nobody who is "
            "reached calls it: no policy can fire at it.",
            "Add the call or the `entry: true` that is missing, or leave the service out.",
            in_program=False,
        ),
        Rule(
            "unknown-protocol",
            "A protocol is most likely misspelled",
            _W,
            "Any name may stand for a protocol. One that no spec names is spoken by no dataplane: what is sent to such "
            "a service passes them all by, untouched, and no policy about requests can be enforced there.",
            "Correct the name. If it is a protocol of its own, a spec that names it (`speaks`, `protocols`) says so.",
            in_program=False,
        ),
        Rule(
            "bad-setting",
            "A setting makes no sense",
            _E,
            "What it should bring about does not happen.",
            "Correct `m4.toml`.",
        ),
        Rule(
            "suppression-without-reason",
            "A suppression gives no reason",
            _W,
            "Who reads it later cannot tell whether it still holds; so it suppresses nothing.",
            "Say why behind the colon, as in `// m4: allow(redundant): kept for the audit until March`.",
            in_program=False,
        ),
        Rule(
            "unused-suppression",
            "A suppression suppresses nothing",
            _W,
            "What it was for is not reported any more, or never was; it could hide something new.",
            "Remove it.",
            unnecessary=True,
            in_program=False,
        ),
        Rule("reserved", "Reserved for a later version", _E, "The construct has no meaning yet.", "Leave it out."),
        Rule(
            "no-plan",
            "There is no plan yet",
            _E,
            "The solver ran out of time before it had any set of elements that enforces every policy.",
            "Allow more time, or write fewer patterns that need the context of long call paths.",
        ),
        Rule(
            "not-optimal",
            "The plan is not proven optimal",
            _I,
            "The solver ran out of time; the plan is correct, and the message says how far from the optimum it can be.",
            "Nothing; or allow more time.",
        ),
    )
}


def rule(code: str) -> Rule:
    """The rule of a code; `KeyError` for a code that no rule has."""
    return RULES[code]


def explain(code: str) -> str:
    """The page of one diagnostic, as Markdown."""
    r = rule(code)
    page = f"# {r.code}: {r.title}\n\nSeverity: {r.severity.word}. Since {r.since}.\n\n{r.why}\n\n"
    page += f"**What to do.** {r.mend}\n\n{_handling(r)}"
    shown = example(code)
    if shown is not None:
        page += f"\n## Reported\n\n{shown.wrong}\n\n## Not reported\n\n{shown.right}\n"
    return page


def _handling(r: Rule) -> str:
    """What a project can do about a diagnostic beside mending what it reports."""
    if not r.configurable:
        return "It is an error of the language: it can be neither turned off nor suppressed.\n"
    other = "off" if r.severity != Severity.HINT else "warning"
    text = f'**To take it for better or worse**, say in `m4.toml` under `[diagnostics]`: `{r.code} = "{other}"` (or '
    text += f"{', '.join(f'`{level!r}`' for level in LEVELS)}, `'off'`).\n".replace("'", '"')
    if not r.suppressible:
        return text
    return text + (
        f"\n**To suppress one of them**, say why in a comment at the end of its line, or above: "
        f"`// m4: allow({r.code}): REASON`.\n"
    )
