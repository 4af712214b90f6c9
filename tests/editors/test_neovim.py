"""The plugin in a real Neovim, driven by typed keys."""

import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

from editor_tools import undeploy
from neovim_kit import HERE, Editor, shop, start

__all__ = ["shop", "start"]


def test_conflict_at_both_policies_with_its_witness(shop: Editor, workspace: Path) -> None:
    here = shop.wait_for_diagnostic("contradiction")
    assert here["severity"] == 1 and here["source"] == "m4"
    assert "even" in here["message"], "the other policy is named"
    assert "e -> f" in here["message"], "the call path of the witness"
    (other, *_) = here["user_data"]["lsp"]["relatedInformation"]
    assert other["location"]["uri"] == (workspace / "even.m4").as_uri()

    shop.edit(workspace / "even.m4")
    there = shop.wait_for_diagnostic("contradiction")
    assert "send_some" in there["message"]


def test_quick_fix_removes_the_conflict_everywhere(shop: Editor, workspace: Path) -> None:
    diagnostic = shop.wait_for_diagnostic("contradiction")
    shop.nvim.current.window.cursor = (diagnostic["lnum"] + 1, diagnostic["col"])
    shop.lua(
        "vim.lsp.buf.code_action({ apply = true, context = { only = { 'quickfix' } },"
        " filter = function(a) return a.title:match('^Let .send_some. override .even.$') ~= nil end })"
    )
    shop.wait("table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false)):find('overrides even') ~= nil")
    shop.wait_for_no_diagnostic("contradiction")
    shop.nvim.command("write")
    shop.edit(workspace / "even.m4")
    shop.wait_for_no_diagnostic("contradiction")
    shop.nvim.input("u")  # nothing to undo here: the fix is in the other file
    shop.edit(workspace / "shop.m4")
    shop.put_cursor("overrides even", len("overrides "))
    shop.nvim.input("<C-]>")
    shop.wait("vim.api.nvim_buf_get_name(0) == ...", str(workspace / "even.m4"))
    assert shop.lua("return vim.fn.expand('<cword>')") == "even", "the definition of the policy"


def test_conflict_comes_back_with_the_edit_that_makes_it(shop: Editor) -> None:
    shop.put_cursor("policy send_some")
    shop.nvim.input("wciwsent<Esc>u")
    shop.wait_for_diagnostic("contradiction")
    shop.put_cursor("v1: 80%")
    shop.nvim.input("V:s/80/50/<CR>:s/20/50/<CR>")
    shop.wait_for_no_diagnostic("contradiction")
    shop.nvim.input(":s/50/80/<CR>:s/50/20/<CR>")
    shop.wait_for_diagnostic("contradiction")


def test_completion_as_it_is_typed(shop: Editor) -> None:
    shop.put_cursor("r.Split")
    shop.nvim.input("or.Se<C-x><C-o>")
    shop.wait("vim.fn.pumvisible() == 1")
    words = [item["word"] for item in shop.nvim.funcs.complete_info(["items"])["items"]]
    assert any(word.startswith("SetHeader") for word in words), words
    assert any(word.startswith("SetTimeout") for word in words), words
    shop.nvim.input("<C-e><Esc>u")


def test_hover_shows_the_documentation(shop: Editor) -> None:
    shop.put_cursor("send_some")
    shop.nvim.input("K")
    shop.wait(
        "#vim.tbl_filter(function(w) return vim.api.nvim_win_get_config(w).relative ~= '' end,"
        " vim.api.nvim_list_wins()) == 1"
    )
    shown = shop.lua(
        "for _, w in ipairs(vim.api.nvim_list_wins()) do if vim.api.nvim_win_get_config(w).relative ~= '' then"
        " return table.concat(vim.api.nvim_buf_get_lines(vim.api.nvim_win_get_buf(w), 0, -1, false), '\\n') end end"
    )
    assert "A fifth of what e sends to f tries the new version." in shown


def test_plan_is_shown_and_cannot_be_changed(start: Any, workspace: Path) -> None:
    (workspace / "even.m4").unlink()
    shop: Editor = start(workspace / "shop.m4")
    shop.wait("#vim.lsp.get_clients({ bufnr = 0, name = 'm4ls' }) == 1")
    shop.nvim.command("M4Plan")
    shop.wait("vim.fn.bufwinid('m4://plan') ~= -1")
    plan = shop.lua("return vim.api.nvim_buf_get_lines(vim.fn.bufnr('m4://plan'), 0, -1, false)")
    assert any("envoy" in line for line in plan), plan
    assert not shop.lua("return vim.bo[vim.fn.bufnr('m4://plan')].modifiable")


def test_a_graph_is_explained_and_a_policy_created_from_its_call(start: Any, workspace: Path) -> None:
    (workspace / "even.m4").unlink()
    shop: Editor = start(workspace / "shop.m4")
    shop.wait("#vim.lsp.get_clients({ bufnr = 0, name = 'm4ls' }) == 1")
    shop.nvim.command(f"edit {workspace / 'shop.graph.yaml'}")
    shop.wait("#vim.lsp.get_clients({ bufnr = 0, name = 'm4ls' }) == 1")
    assert shop.lua("return vim.bo.formatexpr") == ""
    shop.nvim.command("call search('entry')")
    found = shop.lua(
        "local p = vim.lsp.util.make_position_params(0, 'utf-8')"
        " local r = vim.lsp.buf_request_sync(0, 'textDocument/hover', p, 60000)"
        " for _, one in pairs(r) do return one.result.contents.value end"
    )
    assert "Outside traffic comes in here" in found
    shop.nvim.command(r"call search('\[web, e\]')")
    shop.lua(
        "vim.lsp.buf.code_action({ apply = true, filter = function(a)"
        " return a.title == 'Create policy `web_to_e` for this call' end })"
    )
    shop.wait(f"vim.fn.bufloaded('{workspace / 'shop.m4'}') == 1")
    lines = f"table.concat(vim.api.nvim_buf_get_lines(vim.fn.bufnr('{workspace / 'shop.m4'}'), 0, -1, false), ' ')"
    shop.wait(f"({lines}):find('policy web_to_e (HttpRequest h) on * -> web -> e', 1, true) ~= nil")


def test_what_is_deployed_is_shown(start: Any, workspace: Path) -> None:
    (workspace / "even.m4").unlink()
    shop: Editor = start(workspace / "shop.m4")
    shop.wait("#vim.lsp.get_clients({ bufnr = 0, name = 'm4ls' }) == 1")
    shop.nvim.command("M4Status")
    shop.wait("vim.fn.bufwinid('m4://status') ~= -1")
    assert shop.lua("return vim.api.nvim_buf_get_lines(vim.fn.bufnr('m4://status'), 0, -1, false)") == [
        "nothing is deployed"
    ]


def test_tests_are_run_and_shown(start: Any, workspace: Path) -> None:
    with (workspace / "shop.m4").open("a") as file:
        file.write('test "labelled" { request GET "/" on web -> e; expect header["x-tier"] = "beta"; }\n')
    shop: Editor = start(workspace / "shop.m4")
    shop.wait("#vim.lsp.get_clients({ bufnr = 0, name = 'm4ls' }) == 1")
    shop.nvim.command("M4Test")
    shop.wait("vim.fn.bufwinid('m4://test') ~= -1")
    shown = shop.lua("return vim.api.nvim_buf_get_lines(vim.fn.bufnr('m4://test'), 0, -1, false)")
    assert [line.split(" (")[0] for line in shown if line.startswith("FAIL")] == ["FAIL labelled"]
    assert "        web -> e" in shown
    assert shown[-1] == "1 test: 1 failed"


LENSES = (
    "vim.iter(vim.lsp.codelens.get(0)):map(function(l) return l.command and l.command.title or '' end)"
    ":filter(function(t) return t ~= '' end):totable()"
)


def test_lenses_stand_above_policies_and_tests_and_run(start: Any, workspace: Path) -> None:
    with (workspace / "shop.m4").open("a") as file:
        file.write('test "labelled" { request GET "/" on web -> e; expect header["x-tier"] = "beta"; }\n')
        file.write('test "other" { request GET "/" on web -> e; expect allow; }\n')
    shop: Editor = start(workspace / "shop.m4")
    shop.wait(f"vim.tbl_contains({LENSES}, '1 path · 1 conflict') and vim.tbl_contains({LENSES}, 'Run')")
    shop.put_cursor('test "labelled"')
    # Lenses that are being drawn anew have nothing to run for a moment.
    shop.wait(
        "vim.fn.bufwinid('m4://test') ~= -1 or"
        f" (vim.tbl_contains({LENSES}, 'Run') and vim.cmd('silent! M4Lens') and false)"
    )
    shown = shop.lua("return vim.api.nvim_buf_get_lines(vim.fn.bufnr('m4://test'), 0, -1, false)")
    assert shown[-1] == "1 test: 1 failed", "of this test alone"


def test_hints_can_be_switched_on(start: Any, workspace: Path) -> None:
    (workspace / "even.m4").unlink()
    shop: Editor = start(workspace / "shop.m4")
    shop.wait("#vim.lsp.get_clients({ bufnr = 0, name = 'm4ls' }) == 1")
    shop.lua("vim.lsp.inlay_hint.enable(true)")
    shop.wait(
        "vim.iter(vim.lsp.inlay_hint.get({ bufnr = 0 })):any(function(h) return h.inlay_hint.label == 'proxy at e' end)"
    )


FLOATING = (
    "vim.iter(vim.api.nvim_list_wins()):filter(function(w) return vim.api.nvim_win_get_config(w).relative ~= '' end)"
    ":map(function(w) return table.concat(vim.api.nvim_buf_get_lines(vim.api.nvim_win_get_buf(w), 0, -1, false), '\\n')"
    " end):join('\\n')"
)
NOTES = (
    "vim.iter(vim.api.nvim_buf_get_extmarks(0, vim.api.nvim_create_namespace('m4.evaluate'), 0, -1,"
    " { details = true }))"
    ":map(function(m) return (m[2] + 1) .. m[4].virt_text[1][1] end):join('|')"
)


def test_evaluate_shows_what_a_request_gets(start: Any, workspace: Path) -> None:
    (workspace / "even.m4").unlink()
    shop: Editor = start(workspace / "shop.m4")
    shop.wait("#vim.lsp.get_clients({ bufnr = 0, name = 'm4ls' }) == 1")
    shop.put_cursor("r.SetHeader")
    shop.nvim.command("M4Evaluate")
    shop.wait(f'({FLOATING}):find(\'header["x-tier"] = "beta"\', 1, true) ~= nil')
    note = '12  ✓ web -> e: header["x-tier"] = "beta" (envoy at e)'
    assert shop.lua(f"return {NOTES}") == note
    shop.put_cursor('"beta"', 1)
    shop.nvim.input("ciwgold<Esc>")
    shop.wait(f"{NOTES} == ...", "12  ✗ does not fire on web -> e: its condition is false there")
    request = 'GET "/" on web -> e with header["x-user-group"] = "gold"'
    shop.lua("vim.g.said = ...", request)
    shop.lua("vim.ui.input = function(given, done) vim.g.asked = given.default; done(vim.g.said) end")
    shop.nvim.command("M4Evaluate!")
    shop.wait(f"{NOTES} == ...", note)
    assert shop.lua("return vim.g.asked") == request.replace("gold", "beta"), "the last one"
    shop.nvim.command("M4Evaluate GET '/' on web -> f")
    shop.wait("vim.api.nvim_exec2('messages', { output = true }).output:find('a request is written like') ~= nil")
    shop.nvim.command("M4Clear")
    assert shop.lua(f"return {NOTES}") == ""


def test_preview_follows_the_edit_and_leads_back(start: Any, workspace: Path) -> None:
    (workspace / "even.m4").unlink()
    shop: Editor = start(workspace / "shop.m4")
    shop.wait("#vim.lsp.get_clients({ bufnr = 0, name = 'm4ls' }) == 1")
    shop.nvim.command("M4Trust")
    shop.put_cursor("r.SetHeader")
    shop.nvim.command("M4Preview")
    buffer = "vim.fn.bufnr('m4://artifact/envoy/e/envoy.yaml')"
    shown = f"table.concat(vim.api.nvim_buf_get_lines({buffer}, 0, -1, false), '\\n')"
    shop.wait(f"{buffer} ~= -1 and {shown}:find('x-tier', 1, true) ~= nil")
    assert not shop.lua(f"return vim.bo[{buffer}].modifiable")
    assert shop.lua(f"return vim.bo[{buffer}].filetype") == "yaml"
    shop.put_cursor('"x-tier"')
    shop.nvim.input('ci"x-rank<Esc>')
    shop.wait(f"{shown}:find('x-rank', 1, true) ~= nil and {shown}:find('x-tier', 1, true) == nil")
    shop.nvim.command("wincmd l")
    assert shop.lua("return vim.api.nvim_buf_get_name(0)").endswith("m4://artifact/envoy/e/envoy.yaml")
    shop.put_cursor("label: SetHeader")
    shop.nvim.input("gd")
    shop.wait("vim.api.nvim_buf_get_name(0) == ...", str(workspace / "shop.m4"))
    assert "r.SetHeader" in shop.nvim.current.line


def test_what_a_dataplane_does_not_take_is_shown_when_the_template_is_saved(start: Any, workspace: Path) -> None:
    (workspace / "even.m4").unlink()
    shutil.copytree(HERE.parents[1] / "specs/envoy", workspace / "envoy")
    shop: Editor = start(workspace / "shop.m4")
    shop.wait("#vim.lsp.get_clients({ bufnr = 0, name = 'm4ls' }) == 1")
    shop.nvim.command("M4Trust")
    shop.edit(workspace / "envoy/envoy.yaml.j2")
    shop.nvim.command("%s/codec_type: AUTO/codec_tipe: AUTO/ | write")
    found = shop.wait_for_diagnostic("rejected-artifact")
    assert shop.marked_text(found).startswith("codec_tipe: AUTO")
    assert "no such field: 'codec_tipe'" in found["message"]
    shop.nvim.command("%s/codec_tipe/codec_type/ | write")
    shop.wait_for_no_diagnostic("rejected-artifact")


def test_build_writes_artifacts(start: Any, workspace: Path) -> None:
    (workspace / "even.m4").unlink()
    editor: Editor = start(workspace / "shop.m4")
    editor.wait("#vim.lsp.get_clients({ bufnr = 0, name = 'm4ls' }) == 1")
    editor.lua("vim.g.asked = 0 vim.ui.select = function(_, _, done) vim.g.asked = vim.g.asked + 1 done(nil) end")
    editor.nvim.command("M4Build")
    editor.wait("vim.api.nvim_exec2('messages', { output = true }).output:find('not trusted') ~= nil")
    assert editor.lua("return vim.g.asked") == 1
    assert not (workspace / ".m4").exists()
    editor.nvim.command("M4Trust")
    editor.nvim.command("M4Restart")  # which the trust outlives
    editor.wait("#vim.lsp.get_clients({ bufnr = 0, name = 'm4ls' }) == 1")
    assert editor.lua("return require('m4.trust').of(...)", str(workspace)) is True
    editor.nvim.command("M4Build")
    editor.wait("vim.api.nvim_exec2('messages', { output = true }).output:find('M4: wrote') ~= nil")
    assert editor.lua("return vim.g.asked") == 1
    editor.nvim.command("M4Trust!")
    assert editor.lua("return require('m4.trust').of(...)", str(workspace)) is None
    editor.lua("vim.g.m4_trusted = { ... }", str(workspace.parent))
    assert editor.lua("return require('m4.trust').of(...)", str(workspace)) is True, "all folders in that one"
    written = re.search(r"wrote (\d+) files into (\S+)", editor.messages())
    assert written and int(written[1]) > 0
    assert list(Path(written[2]).rglob("*.yaml"))


def test_deploy_and_undeploy(start: Any, workspace: Path, tmp_path: Path) -> None:
    (workspace / "even.m4").unlink()
    editor: Editor = start(workspace / "shop.m4")
    editor.wait("#vim.lsp.get_clients({ bufnr = 0, name = 'm4ls' }) == 1")
    try:
        editor.lua(
            "vim.g.asked = {} vim.ui.select = function(items, given, done)"
            " vim.g.asked = vim.list_extend(vim.g.asked, { given.prompt }) done(items[1]) end"
        )
        editor.nvim.command("M4Deploy")
        editor.wait("vim.fn.bufwinid('m4://deploy') ~= -1")
        trust, where, question = editor.lua("return vim.g.asked")
        assert f"Do you trust who wrote {workspace}?" in trust
        assert "where to deploy mesh `shop`?" in where
        assert "deploy mesh `shop` on this machine? artifacts: 2 new" in question
        report = editor.lua("return vim.api.nvim_buf_get_lines(vim.fn.bufnr('m4://deploy'), 0, -1, false)")
        assert any("127.0.0.1" in line for line in report), report
        editor.wait("vim.api.nvim_exec2('messages', { output = true }).output:find('is deployed') ~= nil")
        editor.nvim.command(f"M4Undeploy {workspace / 'shop.m4'}")
        editor.wait("vim.api.nvim_exec2('messages', { output = true }).output:find('is stopped') ~= nil")
    finally:
        undeploy(workspace, tmp_path / "state")


def test_offsets_are_bytes_also_after_other_letters(start: Any, workspace: Path) -> None:
    editor: Editor = start(workspace / "even.m4")
    diagnostic = editor.wait_for_diagnostic("contradiction")
    assert editor.lua("return vim.lsp.get_clients({ bufnr = 0 })[1].offset_encoding") == "utf-8"
    assert editor.marked_text(diagnostic) == "r.Split({ v1: 50%, v2: 50% })"
    # An edit behind é and 😀: if offsets were UTF-16, the server would see another text.
    editor.put_cursor("50%, v2")
    editor.nvim.input("ciw80<Esc>")
    editor.put_cursor("50%")
    editor.nvim.input("ciw20<Esc>")
    assert "v1: 80%, v2: 20%" in editor.nvim.current.line
    editor.wait_for_no_diagnostic("contradiction")


def test_only_our_files_are_claimed(start: Any) -> None:
    editor: Editor = start()
    for kind, filetypes in (("ours", {"m4mesh"}), ("gnu", {"m4", "config", ""})):
        samples = sorted((HERE / "detect" / kind).iterdir())
        assert samples
        for sample in samples:
            editor.edit(sample)
            assert editor.nvim.eval("&filetype") in filetypes, sample
            if kind == "gnu":
                assert editor.lua("return #vim.lsp.get_clients({ bufnr = 0 })") == 0, "nothing is asked about it"
                assert editor.diagnostics() == []


def test_a_new_file_is_claimed_when_it_tells_what_it_is(start: Any, workspace: Path) -> None:
    editor: Editor = start(workspace / "new.m4")
    assert editor.nvim.eval("&filetype") != "m4mesh"
    editor.nvim.input("ipolicy fresh (HttpRequest r) on web -> f { }<Esc>")
    editor.wait("vim.bo.filetype == 'm4mesh'")
    editor.wait("#vim.lsp.get_clients({ bufnr = 0, name = 'm4ls' }) == 1")


def test_colours(shop: Editor) -> None:
    shop.put_cursor("policy send_some")
    groups = [
        shop.lua("return vim.fn.synIDattr(vim.fn.synID(vim.fn.line('.'), ..., 1), 'name')", column)
        for column in (1, len("policy send_some (HttpRequest r) on e -"))
    ]
    assert groups == ["m4Declaration", "m4Operator"]


def test_names_have_the_colours_of_what_they_stand_for(shop: Editor) -> None:
    shop.put_cursor("on e ->", len("on "))
    told = "vim.iter(vim.lsp.semantic_tokens.get_at_pos() or {}):any(function(t) return t.type == 'service' end)"
    shop.wait(told)
    assert shop.lua("return vim.api.nvim_get_hl(0, { name = '@lsp.type.service.m4mesh' }).link") == "Type"


def test_rename_changes_the_graph_too(shop: Editor, workspace: Path) -> None:
    shop.put_cursor("on e ->", len("on "))
    shop.lua("vim.lsp.buf.rename('edge')")
    shop.wait("table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false)):find(..., 1, true) ~= nil", "on edge -> f")
    graph = shop.lua(
        "return vim.api.nvim_buf_get_lines(vim.fn.bufnr(...), 0, -1, false)", str(workspace / "shop.graph.yaml")
    )
    assert "  edge: {versions: [v1, v2]}" in graph
    assert "  - [web, edge]" in graph
    shop.lua("vim.cmd('silent! wall')")


def test_a_server_that_is_killed_is_started_again_and_that_is_said(shop: Editor, workspace: Path) -> None:
    os.kill(server_of(int(shop.lua("return vim.fn.getpid()"))), signal.SIGKILL)
    said = "vim.api.nvim_exec2('messages', { output = true }).output"
    shop.wait(f"{said}:find('stopped unexpectedly and is started again') ~= nil")
    shop.wait("#vim.lsp.get_clients({ bufnr = 0, name = 'm4ls' }) == 1")
    shop.put_cursor("v1: 80%")
    shop.nvim.input("cwv9<Esc>")  # the new server knows what the editor has
    shop.wait_for_diagnostic("unknown-version")
    shop.nvim.command("undo")
    shop.wait_for_no_diagnostic("unknown-version")
    shop.wait_for_diagnostic("contradiction")


def server_of(neovim: int) -> int:
    """The process of the language server among those that Neovim has started."""
    (pid,) = (int(p.name) for p in Path("/proc").glob("[0-9]*") if _parent(p) == neovim and _runs_server(p))
    return pid


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _runs_server(process: Path) -> bool:
    return b"m4ls" in (process / "cmdline").read_bytes()


def test_health_and_a_missing_server(start: Any, workspace: Path, server: Path) -> None:
    editor: Editor = start(workspace / "shop.m4", server=Path("/nowhere/m4ls"))
    editor.wait("vim.api.nvim_exec2('messages', { output = true }).output:find('pip install xmesh') ~= nil")
    editor.nvim.command("checkhealth m4")
    assert any("/nowhere/m4ls is not executable" in line for line in editor.nvim.current.buffer[:])
    # The way out, without leaving Neovim.
    editor.lua("vim.g.m4_server = ...", str(server))
    editor.nvim.command("M4Restart")
    editor.edit(workspace / "shop.m4")
    editor.wait_for_diagnostic("contradiction")
    editor.nvim.command("checkhealth m4")
    shown = editor.nvim.current.buffer[:]
    assert any("runs for" in line for line in shown)
    assert any("hints are not drawn" in line for line in shown)
    assert not any("older than this plugin" in line for line in shown)
