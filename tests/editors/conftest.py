"""What the tests in real editors share: the language server, and a workspace that may be changed."""

import os
import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def server() -> Path:
    """The language server that the editors start; the variable M4LS names another one."""
    beside = Path(sys.executable).with_name("m4ls")
    return Path(os.environ.get("M4LS", beside))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A copy of the small workspace: two policies in two files that contradict each other."""
    return Path(shutil.copytree(HERE / "workspace", tmp_path / "workspace"))
