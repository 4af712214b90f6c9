--- The M4 plugin: finds the server, and the commands that ask it for a plan, artifacts or a deployment.
local M = {}

local complained = false
local ends = {} -- when the server has ended without being asked to, in milliseconds
local MAX_ENDS, IN_TIME = 4, 180000

--- Within an autocommand an error message would count as the autocommand's failure, so it comes right after.
local tell = vim.schedule_wrap(function(message, level)
  vim.notify('M4: ' .. message, level or vim.log.levels.INFO)
end)

--- Starts the server for all files of ours that are open.
local function attach()
  for _, bufnr in ipairs(vim.api.nvim_list_bufs()) do
    if vim.api.nvim_buf_is_loaded(bufnr) and vim.bo[bufnr].filetype == 'm4mesh' then
      vim.api.nvim_exec_autocmds('FileType', { group = 'nvim.lsp.enable', buffer = bufnr })
    end
  end
end

--- The command line of the server: `vim.g.m4_server` (a string or a list), else `m4ls` on the PATH. A program in
--- the folder of the file is never taken by itself: opening a file must not run what lies beside it.
--- @return string[]
function M.server()
  local server = vim.g.m4_server or 'm4ls'
  return type(server) == 'table' and server or { vim.fn.expand(server) }
end

--- Whether the server can be run; if not, the user is told once.
--- @return boolean
function M.server_found()
  local program = M.server()[1]
  if vim.fn.executable(program) == 1 then
    return true
  end
  if not complained then
    complained = true
    tell(
      ('no language server: %s is not executable. Install it with "pip install xmesh" or set vim.g.m4_server; see :checkhealth m4'):format(
        program
      ),
      vim.log.levels.ERROR
    )
  end
  return false
end

--- The folder of a file's mesh: the nearest one above with a service graph, else the repository, else its own.
--- @param bufnr integer
--- @return string? folder nothing for a buffer without a file
function M.root(bufnr)
  local file = vim.api.nvim_buf_get_name(bufnr)
  if file == '' or file:match('^%a[%w+.-]*://') then
    return nil
  end
  return vim.fs.root(bufnr, function(name)
    return name:match('%.graph%.ya?ml$') or name:match('%.graph%.json$')
  end) or vim.fs.root(bufnr, '.git') or vim.fs.dirname(file)
end

--- The client of the current buffer, else any.
local function client()
  local clients = vim.lsp.get_clients({ bufnr = 0, name = 'm4ls' })
  return clients[1] or vim.lsp.get_clients({ name = 'm4ls' })[1]
end

--- Runs a command of the server on a file or folder.
--- @param command string
--- @param path string? default: the file of the current buffer
--- @param done fun(result: table)
--- @param ... any further arguments of the command
local function ask(command, path, done, ...)
  local running = client()
  if not running then
    tell('the language server does not run; see :checkhealth m4', vim.log.levels.ERROR)
    return
  end
  local file = path and path ~= '' and vim.fn.fnamemodify(path, ':p') or vim.api.nvim_buf_get_name(0)
  if file == '' then
    tell('which file or folder?', vim.log.levels.ERROR)
    return
  end
  local uri = vim.uri_from_fname((file:gsub('(.)/$', '%1')))
  running:request('workspace/executeCommand', { command = command, arguments = { uri, ... } }, function(err, result)
    if err then
      tell(err.message, vim.log.levels.ERROR)
    elseif result then
      done(result)
    end
  end)
end

--- Shows a text in a window below, in a buffer that cannot be changed; later texts of that name replace it.
--- @param name string
--- @param text string
local function show(name, text)
  local bufnr = vim.fn.bufadd(name)
  vim.fn.bufload(bufnr)
  vim.bo[bufnr].buftype = 'nofile'
  vim.bo[bufnr].swapfile = false
  vim.bo[bufnr].modifiable = true
  vim.api.nvim_buf_set_lines(bufnr, 0, -1, false, vim.split(text:gsub('\n$', ''), '\n'))
  vim.bo[bufnr].modifiable = false
  if vim.fn.bufwinid(bufnr) == -1 then
    vim.cmd.sbuffer({ args = { bufnr }, mods = { split = 'botright', noswapfile = true } })
    vim.wo.wrap = false
  end
end

--- Shows the plan: which services get an element, which dataplane, and what it costs.
--- @param path string?
function M.plan(path)
  ask('m4.plan', path, function(result)
    show('m4://plan', result.text)
  end)
end

--- Shows what is deployed, and what its elements have counted.
--- @param path string?
function M.status(path)
  ask('m4.status', path, function(result)
    show('m4://status', result.text)
  end)
end

--- Gives the graphs that are open to the servers of their folders.
function M.take_graphs()
  for _, running in ipairs(vim.lsp.get_clients({ name = 'm4ls' })) do
    for _, bufnr in ipairs(vim.api.nvim_list_bufs()) do
      local file = vim.api.nvim_buf_get_name(bufnr)
      local is_graph = file:match('%.graph%.ya?ml$') or file:match('%.graph%.json$')
      local inside = running.root_dir and vim.fs.relpath(running.root_dir, file)
      if is_graph and inside and vim.api.nvim_buf_is_loaded(bufnr) and not running.attached_buffers[bufnr] then
        vim.lsp.buf_attach_client(bufnr, running.id)
        vim.bo[bufnr].formatexpr = '' -- it formats no graphs
      end
    end
  end
end

--- Runs the tests, and shows hop by hop what happened in those that fail.
--- @param path string?
--- @param title string? of one test; default: all
function M.test(path, title)
  ask('m4.test', path, function(result)
    show('m4://test', result.text)
  end, title)
end

--- Shows what a request gets. Without a request it is the one that was last evaluated for the policy, or one that the
--- server proposes.
--- @param path string?
--- @param policy string? default: the one at the cursor
--- @param request string? as a test writes it
--- @param change boolean? asks for another request first
function M.evaluate(path, policy, request, change)
  local evaluate = require('m4.evaluate')
  local running = client()
  policy = policy or (running and evaluate.policy_at_cursor(running))
  if running and not policy and not request then
    tell('put the cursor into a policy first', vim.log.levels.WARN)
    return
  end
  local file = path and path ~= '' and path or vim.api.nvim_buf_get_name(0)
  ask('m4.evaluate', file, function(result)
    if not change then
      evaluate.show(file, result)
      return
    end
    vim.ui.input({ prompt = 'Request: ', default = result.request }, function(other)
      if other and other ~= '' then
        M.evaluate(file, policy, other)
      end
    end)
  end, policy or vim.NIL, request or vim.NIL)
end

--- Shows what a policy becomes: its templates are run, so only in folders that you trust.
--- @param path string?
--- @param policy string? default: the one at the cursor
function M.preview(path, policy)
  local running = client()
  policy = policy or (running and require('m4.evaluate').policy_at_cursor(running))
  if running and not policy then
    tell('put the cursor into a policy first', vim.log.levels.WARN)
    return
  end
  local file = path and path ~= '' and path or vim.api.nvim_buf_get_name(0)
  ask('m4.preview', file, function(result)
    require('m4.preview').show(file, result)
  end, policy)
end

--- Trusts the folder that the server of the current buffer runs for, or not any more.
--- @param trusted boolean
function M.trust(trusted)
  local running = client()
  if not running then
    tell('the language server does not run; see :checkhealth m4', vim.log.levels.ERROR)
    return
  end
  local folder = require('m4.trust').set(running, trusted)
  tell(('%s is %s'):format(folder, trusted and 'trusted' or 'not trusted any more'))
end

--- Writes the artifacts.
--- @param path string?
function M.build(path)
  ask('m4.build', path, function(result)
    tell(('wrote %d files into %s'):format(#result.files, result.folder))
  end)
end

--- Deploys, with the server's own messages; what it reports is shown below.
--- @param path string?
function M.deploy(path)
  ask('m4.deploy', path, function(result)
    if result.text and result.text ~= '' then
      show('m4://deploy', result.text)
    end
  end)
end

--- Takes back what was deployed.
--- @param path string?
function M.undeploy(path)
  ask('m4.undeploy', path, function(result)
    if result.text and result.text ~= '' then
      show('m4://deploy', result.text)
    end
  end)
end

--- What lenses do. Neovim would only send their commands to the server, and throw the answers away.
for _, name in ipairs({ 'plan', 'test', 'evaluate', 'preview' }) do
  vim.lsp.commands['m4.' .. name] = function(command)
    local arguments = vim.list_slice(command.arguments)
    arguments[1] = vim.uri_to_fname(arguments[1])
    M[name](unpack(arguments))
  end
end

--- Draws the lenses of our buffers; `vim.g.m4_codelens = false` leaves them out. They run with
--- `vim.lsp.codelens.run()`, or `:M4Lens`.
--- @param client_id integer
function M.draw(client_id)
  if vim.g.m4_codelens == false then
    return
  end
  for bufnr in pairs((vim.lsp.get_client_by_id(client_id) or { attached_buffers = {} }).attached_buffers) do
    vim.lsp.codelens.refresh({ bufnr = bufnr })
  end
end

--- Stops the server and starts it again for every buffer of ours.
function M.restart()
  ends = {}
  complained = false
  for _, running in ipairs(vim.lsp.get_clients({ name = 'm4ls' })) do
    running:stop()
  end
  vim.wait(5000, function()
    return #vim.lsp.get_clients({ name = 'm4ls' }) == 0
  end, 20)
  attach()
end

--- The server has ended. Where nobody has asked it to, it is started again, and the user is told.
--- @param code integer
--- @param signal integer
--- @param client_id integer
M.ended = vim.schedule_wrap(function(code, signal, client_id)
  if (code == 0 and signal == 0) or signal == vim.uv.constants.SIGTERM or vim.v.exiting ~= vim.NIL then
    return
  end
  local now = vim.uv.now()
  ends = vim.tbl_filter(function(at)
    return now - at < IN_TIME
  end, ends)
  table.insert(ends, now)
  if #ends > MAX_ENDS then
    local message = 'the language server stopped %d times within three minutes and is not started again; see :LspLog'
    tell(message:format(#ends), vim.log.levels.ERROR)
    return
  end
  tell('the language server stopped unexpectedly and is started again', vim.log.levels.WARN)
  local function again()
    if vim.lsp.get_client_by_id(client_id) then -- Neovim is not done with it
      vim.defer_fn(again, 50)
    else
      attach()
    end
  end
  again()
end)

return M
