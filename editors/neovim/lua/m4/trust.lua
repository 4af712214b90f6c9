--- Folders whose templates may be run, and from which may be built and deployed. The server holds to it: of a folder of
--- which nothing is said here it asks when it matters, for as long as it runs.
local M = {}

local function list()
  return vim.fs.joinpath(vim.fn.stdpath('state'), 'm4-trusted')
end

--- The folders that `:M4Trust` was said of.
--- @return string[]
local function remembered()
  local file = io.open(list(), 'r')
  if not file then
    return {}
  end
  local folders = vim.split(file:read('*a'), '\n', { trimempty = true })
  file:close()
  return folders
end

--- Whether a folder is trusted: it, or one above it, is in `vim.g.m4_trusted` (a list) or was trusted with `:M4Trust`.
--- @param folder string?
--- @return boolean? trusted nothing if nobody has said
function M.of(folder)
  local real = folder and vim.uv.fs_realpath(folder)
  for _, trusted in ipairs(real and vim.list_extend(remembered(), vim.g.m4_trusted or {}) or {}) do
    local above = vim.uv.fs_realpath(vim.fs.normalize(trusted))
    if above and (real == above or vim.startswith(real, above == '/' and '/' or above .. '/')) then
      return true
    end
  end
  return nil
end

--- Trusts the folder of a running server from now on, or not any more.
--- @param client vim.lsp.Client
--- @param trusted boolean
function M.set(client, trusted)
  local folder = vim.uv.fs_realpath(client.root_dir)
  local others = vim.tbl_filter(function(other)
    return other ~= folder
  end, remembered())
  if trusted then
    table.insert(others, folder)
  end
  vim.fn.mkdir(vim.fn.stdpath('state'), 'p')
  vim.fn.writefile(others, list())
  client:notify('workspace/didChangeConfiguration', { settings = { m4 = { trusted = trusted } } })
  return folder
end

return M
