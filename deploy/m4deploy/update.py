"""Other policies for a mesh in force, as one transaction in which no request is lost.

    prepare     read what was built, and see what is different
    validate    each dataplane says whether it takes its new files
    load        what is needed beside what runs; the kernel's verifier sees programs
    swap        each element's new files take the place of the old ones
    verify      everything lives, and acts as its new files say
    confirm     whoever asked still wants it
    commit      what was built takes the place of what was built before, in one step
    settle      what only a way back needed is given back

Until `commit` everything that was done can be taken back, and is, in the reverse order, if anything fails or whoever
asked is gone; what runs then is what ran before, down to its processes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from m4deploy.built import Built, Element, Policy, read_built
from m4deploy.directory import exchange
from m4deploy.drivers.base import Change, Place, Running
from m4deploy.errors import DeployError
from m4deploy.mesh import Mesh

Key = tuple[str, str]  # service and dataplane
UNDER_WAY = 0.2  # seconds, in which a request that one element has judged is at the next one


def in_the_way(old: Built, new: Built) -> str | None:
    """Why a mesh in force cannot become another one without a new start; None if it can."""
    if (old.mesh, old.graph) != (new.mesh, new.graph):
        return "the services or their calls are others"
    if _proxies(old) != _proxies(new):
        return "there are other proxies"
    if (old.services, old.context) != (new.services, new.context):
        return "the addresses are others"
    beside = {service for service, _ in _proxies(new)}
    came = {e.service for e in new.elements if e.tier == "kernel"} - {
        e.service for e in old.elements if e.tier == "kernel"
    }
    if came & beside:  # the proxy keeps connections that a program which comes later does not see
        return f"a program in the kernel comes beside the proxy of {min(came & beside)}"
    return None


def in_turn(
    keys: Sequence[Key], before: Mapping[Key, Set[Policy]], after: Mapping[Key, Set[Policy]]
) -> list[tuple[Key, bool]]:
    """The order in which elements change, and whether one waited for others: those that a policy comes to change before
    those that it leaves. Of elements between which policies move in both directions one has to be the first. What waits
    for nothing keeps its place. `before`, `after`: the policies of each element."""
    coming: dict[Policy, set[Key]] = {}
    for key, policies in after.items():
        for policy in policies - before.get(key, frozenset()):
            coming.setdefault(policy, set()).add(key)
    todo = dict.fromkeys(keys)
    waits: dict[Key, set[Key]] = {}
    for key in keys:
        left = before.get(key, frozenset()) - after.get(key, frozenset())
        waits[key] = set().union(*(coming.get(p, ()) for p in left)) & todo.keys()
    out: list[tuple[Key, bool]] = []
    while todo:
        key = next((k for k in todo if not waits[k] & todo.keys()), next(iter(todo)))
        del todo[key]
        out.append((key, bool(waits[key] - todo.keys())))
    return out


def _proxies(built: Built) -> set[Key]:
    return {(e.service, e.dataplane) for e in built.elements if e.tier != "kernel"}


class Update:
    """One such transaction. If nothing is in the way, call the methods in their order; `take_back` at any time before
    `commit`."""

    def __init__(self, mesh: Mesh, folder: Path) -> None:
        self.mesh = mesh
        self.folder = folder  # with what was built; gone in the end
        self._new = read_built(folder)
        self._work = mesh.run / "update"
        self._changed: list[Element] = []
        self._started: list[tuple[Element, Place, Running]] = []
        self._changes: list[tuple[Element, Change]] = []
        self._begun: list[Change] = []
        self._swapped: list[Change] = []

    def obstacle(self) -> str | None:
        """Why the mesh has to start anew instead; None if it need not."""
        return "something is dead" if self.mesh.dead() else in_the_way(self.mesh.built, self._new)

    def prepare(self) -> None:
        """Sees which elements get other files."""
        before = {_key(e): e for e in self.mesh.built.elements}
        self._changed = [e for e in self._new.elements if _key(e) not in before or _differ(e, before[_key(e)])]

    def validate(self) -> None:
        """Asks the dataplanes."""
        if len(self._changed) == 1:  # no other thread to wait for
            (element,) = self._changed
            self.mesh.progress(f"Validating {element}", 0.1)
            self.mesh.driver(element.dataplane).validate(element, self._folder(element))
            return
        with ThreadPoolExecutor(max(1, min(len(self._changed), 4))) as pool:
            jobs = [(e, pool.submit(self.mesh.driver(e.dataplane).validate, e, self._folder(e))) for e in self._changed]
            try:
                for done, (element, job) in enumerate(jobs):
                    self.mesh.progress(f"Validating {element}", 0.1 + 0.5 * done / len(jobs))
                    job.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def load(self) -> None:
        """Makes the changes ready."""
        running = {_key(e): r for e, _, r in self.mesh.elements}
        gone = running.keys() - {_key(e) for e in self._new.elements}
        for element in self._changed:
            if _key(element) in running:
                change = running[_key(element)].change(element, self._folder(element))
                self._changes.append((element, change))
        for element, _, one in self.mesh.elements:
            if _key(element) in gone and _key(element) not in self.mesh.idle:
                self._changes.append((element, one.change(None, self._work)))

    def swap(self) -> None:
        """Puts the new files in force, element by element: first what comes new, for the kernel may refuse that, and
        where a policy moves, what it comes to before what it leaves: both may judge a request, but never neither."""
        running = {_key(e) for e, _, _ in self.mesh.elements}
        for element in self._changed:
            if _key(element) not in running:
                place = self.mesh.place(element)
                self._started.append((element, place, self.mesh.driver(element.dataplane).start(element, place)))
        first = sorted(self._changes, key=lambda c: c[0].tier)  # the kernel's take no time
        of = {_key(element): change for element, change in first}
        before, after = ({_key(e): e.policies for e in built.elements} for built in (self.mesh.built, self._new))
        turns = in_turn(list(of), before, after)
        for key, _ in turns:
            self._begun.append(of[key])
            of[key].begin()
        for key, waited in turns:
            if waited:
                time.sleep(UNDER_WAY)
            self._swapped.append(of[key])
            of[key].swap()
        for key, _ in turns:
            of[key].finish()

    def verify(self) -> None:
        """Whether everything lives and has taken its files."""
        dead = self.mesh.dead()
        if dead:
            raise DeployError(f"{dead[0]} ended.")

    def commit(self) -> None:
        """From now on this is what is in force."""
        exchange(self.folder, self.mesh.folder / "built")
        self.mesh.adopt(read_built(self.mesh.folder / "built"), self._started)

    def settle(self) -> None:
        """Gives back what is not needed any more. What fails here is no harm."""
        for _, change in self._changes:
            change.settle()
        self.mesh.renew()
        self._tidy()

    def take_back(self) -> None:
        """Puts everything as it was. Raises DeployError if that cannot be: what is in force then is unknown."""
        failed: DeployError | None = None
        for _, _, running in self._started:
            running.close()
        back = self._swapped[::-1]
        for step in [*(c.begin for c in back), *(c.revert for c in back), *(c.finish for c in self._begun)]:
            try:
                step()
            except DeployError as error:
                failed = error
        for _, change in self._changes:
            change.settle()
        self._tidy()
        if failed is not None:
            raise failed

    def _folder(self, element: Element) -> Path:
        folder = self._work / self.mesh.place(element).folder.name
        if element.tier != "kernel":  # most edits there need none, and would wait for the disk
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _tidy(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _key(element: Element) -> Key:
    return element.service, element.dataplane


def _differ(one: Element, other: Element) -> bool:
    return {n: p.read_bytes() for n, p in one.files.items()} != {n: p.read_bytes() for n, p in other.files.items()}
