"""Signature help: the parameters of the call whose parentheses are open at the cursor, and which one is due."""

from __future__ import annotations

from dataclasses import dataclass

from m4c.ide import render
from m4c.ide.cursor import cursor_at
from m4c.ide.scene import Scene
from m4c.semantics.model import Operation
from m4c.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Signature:
    """A call as it is declared. `parameters`: where each stands in the label; `active`: the index of the one whose
    argument is at the cursor, None if there is none left."""

    label: str
    doc: str
    parameters: tuple[tuple[int, int], ...]
    active: int | None


def signature(workspace: Workspace, file: str, offset: int) -> Signature | None:
    """The call around an offset; None outside of the parentheses of one that is known."""
    cursor = cursor_at(workspace, file, offset)
    scene = Scene(workspace, cursor) if cursor is not None else None
    called = scene.called() if scene is not None and scene.in_arguments() else None
    if scene is None or called is None:
        return None
    parameters, label = [], f"{called.name}("
    for number, param in enumerate(called.params):
        text = render.param(param)
        label += ", " if number else ""
        parameters.append((len(label), len(label) + len(text)))
        label += text
    due = scene.param()
    active = called.params.index(due) if due is not None else None
    writes = _writes(called, scene) if isinstance(called, Operation) else ""
    return Signature(f"{label})", "\n\n".join(filter(None, (called.doc, writes))), tuple(parameters), active)


def _writes(operation: Operation, scene: Scene) -> str:
    entity = scene.schema.entities.get(operation.entity)
    written = ", ".join(f"`{render.write(w, entity)}`" for w in operation.writes)
    return f"Writes {written}." if written else ""
