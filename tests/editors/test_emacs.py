"""The mode for Emacs with eglot, in a real Emacs without a window."""

import os
import shutil
import subprocess
from pathlib import Path

from editor_tools import missing

HERE = Path(__file__).parent
MODE = HERE.parents[1] / "editors/emacs"
CHECKS = HERE / "emacs_checks.el"


def test_eglot(workspace: Path, server: Path, tmp_path: Path) -> None:
    emacs = shutil.which("emacs") or missing("Emacs", "setup-test")
    variables = {
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "M4_SERVER": str(server),
        "M4_WORKSPACE": str(workspace),
        "M4_DETECT": str(HERE / "detect"),
    }
    done = subprocess.run(
        [emacs, "--batch", "-f", "package-initialize", "-L", MODE, "-l", CHECKS],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.count("ok: ") == CHECKS.read_text().count('(checks-say "'), done.stdout
