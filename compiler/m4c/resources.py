"""What is shipped beside the code: the specs and the pages on diagnostics (in the package, or in the checkout), and the
script of maps."""

from __future__ import annotations

from functools import cache
from pathlib import Path

CORE = "core.m4"


@cache
def specs_dir() -> Path:
    """The folder with `core.m4` and one folder a dataplane."""
    here = Path(__file__).resolve().parent
    packaged = here / "_specs"
    return packaged if packaged.is_dir() else here.parents[1] / "specs"


@cache
def page_of(code: str) -> Path | None:
    """The page on a diagnostic, where the pages are installed."""
    here = Path(__file__).resolve().parent
    found = (folder / f"diagnostics/{code}.md" for folder in (here / "_docs", here.parents[1] / "docs"))
    return next((page for page in found if page.is_file()), None)


def shipped_specs() -> dict[str, Path]:
    """The shipped spec programs by dataplane name, `core` for the vocabulary."""
    root = specs_dir()
    found = {p.parent.name: p for p in sorted(root.glob("*/spec.m4"))}
    return {"core": root / CORE, **found}


def map_script() -> str:
    """The script that draws a map in a page. It is built from `vscode-extension/map` and kept in `web/`."""
    return (Path(__file__).resolve().parent / "web/map.js").read_text("utf-8")
