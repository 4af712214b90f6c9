--- Preview: what a policy becomes, in a scratch buffer that follows the edit, with the way back to the policy's lines.
local M = {}

local namespace = vim.api.nvim_create_namespace('m4.preview')
local shown = {} --- @type table<integer, { file: string, policy: string, path: string, parts: table[] }> by buffer

local function fill(bufnr, artifact)
  local lines = vim.split((artifact.text:gsub('\n$', '')), '\n')
  vim.bo[bufnr].modifiable = true
  vim.api.nvim_buf_set_lines(bufnr, 0, -1, false, lines)
  vim.bo[bufnr].modifiable = false
  vim.api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
  for _, part in ipairs(artifact.parts) do
    if part.start < #lines then
      vim.api.nvim_buf_set_extmark(bufnr, namespace, part.start, 0, {
        virt_text = { { ('  ← %s: %s'):format(part.policy, part.operation), 'Comment' } },
        virt_text_pos = 'eol',
      })
    end
  end
  shown[bufnr].parts = artifact.parts
end

--- Goes to the call that the line at the cursor comes from.
local function go_back(bufnr)
  local line = vim.api.nvim_win_get_cursor(0)[1] - 1
  local best
  for _, part in ipairs(shown[bufnr].parts) do
    if part.start <= line and line < part['end'] and (not best or part['end'] - part.start < best['end'] - best.start) then
      best = part
    end
  end
  if not best then
    vim.notify('M4: this line comes from no policy', vim.log.levels.INFO)
    return
  end
  vim.cmd.wincmd('p')
  vim.lsp.util.show_document(best.source, 'utf-8', { focus = true })
end

local function open(file, policy, artifact)
  local name = 'm4://artifact/' .. artifact.path
  local bufnr = vim.fn.bufadd(name)
  vim.fn.bufload(bufnr)
  vim.bo[bufnr].buftype = 'nofile'
  vim.bo[bufnr].swapfile = false
  vim.bo[bufnr].filetype = vim.filetype.match({ filename = artifact.kind }) or ''
  shown[bufnr] = { file = file, policy = policy, path = artifact.path, parts = {} }
  fill(bufnr, artifact)
  for _, key in ipairs({ 'gd', '<CR>' }) do
    vim.keymap.set('n', key, function()
      go_back(bufnr)
    end, { buffer = bufnr, desc = 'M4: go to what this line comes from' })
  end
  if vim.fn.bufwinid(bufnr) == -1 then
    local here = vim.api.nvim_get_current_win()
    vim.cmd.sbuffer({ args = { bufnr }, mods = { vertical = true, split = 'botright', noswapfile = true } })
    vim.wo.wrap = false
    vim.api.nvim_set_current_win(here)
  end
  for _, part in ipairs(artifact.parts) do
    if part.policy == policy then
      vim.api.nvim_win_set_cursor(vim.fn.bufwinid(bufnr), { part.start + 1, 0 })
      break
    end
  end
end

--- Shows an answer of `m4.preview`: of several artifacts the one that is chosen.
--- @param file string
--- @param result table
function M.show(file, result)
  if #result.artifacts == 1 then
    open(file, result.policy, result.artifacts[1])
    return
  end
  vim.ui.select(result.artifacts, {
    prompt = 'What ' .. result.policy .. ' becomes',
    format_item = function(artifact)
      return artifact.path
    end,
  }, function(artifact)
    if artifact then
      open(file, result.policy, artifact)
    end
  end)
end

--- What is shown is asked for again. While the text is broken, what was shown last stays.
--- @param client vim.lsp.Client
function M.again(client)
  for bufnr, about in pairs(shown) do
    if not vim.api.nvim_buf_is_loaded(bufnr) or vim.fn.bufwinid(bufnr) == -1 then
      shown[bufnr] = nil
    else
      local arguments = { vim.uri_from_fname(about.file), about.policy }
      client:request('workspace/executeCommand', { command = 'm4.preview', arguments = arguments }, function(err, result)
        for _, artifact in ipairs(not err and result and result.artifacts or {}) do
          if artifact.path == about.path and shown[bufnr] == about then
            fill(bufnr, artifact)
          end
        end
      end)
    end
  end
end

return M
