--- Evaluate: what a request gets, as virtual text beside the policies that it meets and in a floating window.
local M = {}

local namespace = vim.api.nvim_create_namespace('m4.evaluate')
local shown --- @type { file: string, policy: string, request: string }? what is evaluated again after an edit

--- Writes the notes behind the names of policies, in every loaded buffer of theirs.
--- @param notes table[]
local function draw(notes)
  M.clear_notes()
  for _, note in ipairs(notes) do
    local bufnr = vim.fn.bufnr(vim.uri_to_fname(note.uri))
    local line = note.range.start.line
    if bufnr ~= -1 and vim.api.nvim_buf_is_loaded(bufnr) and line < vim.api.nvim_buf_line_count(bufnr) then
      local text = (note.fired and '  ✓ ' or '  ✗ ') .. note.text
      vim.api.nvim_buf_set_extmark(bufnr, namespace, line, 0, {
        virt_text = { { text, note.fired and 'DiagnosticOk' or 'Comment' } },
        virt_text_pos = 'eol',
      })
    end
  end
end

function M.clear_notes()
  for _, bufnr in ipairs(vim.api.nvim_list_bufs()) do
    vim.api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
  end
end

--- Nothing is shown any more.
function M.clear()
  shown = nil
  M.clear_notes()
end

--- Shows an answer of `m4.evaluate`.
--- @param file string
--- @param result table
function M.show(file, result)
  shown = { file = file, policy = result.policy, request = result.request }
  draw(result.notes)
  local _, window = vim.lsp.util.open_floating_preview(
    vim.split(vim.trim(result.text), '\n'),
    '',
    { border = 'rounded', title = ' M4: evaluate ', focus_id = 'm4.evaluate', wrap = false }
  )
  return window
end

--- After an edit: the same request. The text may be broken just now, so errors are not told.
--- @param client vim.lsp.Client
function M.again(client)
  local before = shown
  if not before then
    return
  end
  local arguments = { vim.uri_from_fname(before.file), before.policy, before.request }
  client:request('workspace/executeCommand', { command = 'm4.evaluate', arguments = arguments }, function(err, result)
    if not err and result and shown == before then
      draw(result.notes)
    end
  end)
end

--- The policy around the cursor, by the server's own outline.
--- @param client vim.lsp.Client
--- @return string?
function M.policy_at_cursor(client)
  local answer = client:request_sync('textDocument/documentSymbol', {
    textDocument = vim.lsp.util.make_text_document_params(),
  }, 5000, 0)
  local line = vim.api.nvim_win_get_cursor(0)[1] - 1
  for _, symbol in ipairs(answer and answer.result or {}) do
    if symbol.kind == vim.lsp.protocol.SymbolKind.Function then
      if symbol.range.start.line <= line and line <= symbol.range['end'].line then
        return symbol.name
      end
    end
  end
end

return M
