"""What the tests in real editors share: the language server, and a workspace that may be changed."""

import os
import shlex
import shutil
from pathlib import Path

import pytest
from editor_tools import apart, beside

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The language server that the editors start; the variable M4LS names another one."""
    program = os.environ.get("M4LS", str(beside("m4ls")))
    command = apart([program])
    if command == [program]:
        return Path(program)
    wrapper = tmp_path_factory.mktemp("server") / "m4ls"
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A copy of the small workspace: two policies in two files that contradict each other."""
    return Path(shutil.copytree(HERE / "workspace", tmp_path / "workspace"))
