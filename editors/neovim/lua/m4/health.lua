--- `:checkhealth m4`
local M = {}

function M.check()
  local health = vim.health
  health.start('M4')

  if vim.fn.has('nvim-0.11') == 0 then
    health.error('Neovim 0.11 or newer is needed')
    return
  end
  health.ok('Neovim ' .. tostring(vim.version()))

  local server = require('m4').server()
  if vim.fn.executable(server[1]) == 1 then
    health.ok('language server: ' .. vim.fn.exepath(server[1]))
  else
    health.error(('language server: %s is not executable'):format(server[1]), {
      'pip install xmesh, in an environment whose bin is on the PATH',
      "or vim.g.m4_server = '/path/to/m4ls' in your init file",
    })
  end

  if vim.lsp.is_enabled('m4ls') then
    health.ok('switched on')
  else
    health.error('not switched on', { "vim.lsp.enable('m4ls') in your init file" })
  end

  if vim.g.m4_codelens == false then
    health.info('lenses are switched off (vim.g.m4_codelens)')
  else
    health.ok('lenses are drawn; :M4Lens does what stands above a policy')
  end
  if vim.lsp.inlay_hint.is_enabled() then
    health.ok('hints are drawn')
  else
    health.info('hints are not drawn; vim.lsp.inlay_hint.enable() in your init file draws them')
  end

  local clients = vim.lsp.get_clients({ name = 'm4ls' })
  for _, client in ipairs(clients) do
    health.ok(('runs for %s (%s)'):format(client.root_dir, client.offset_encoding))
    if require('m4.trust').of(client.root_dir) then
      health.ok('the folder is trusted')
    else
      health.info('the folder is not trusted: the server asks before it builds or deploys; :M4Trust is for good')
    end
    local offered = vim.tbl_get(client.server_capabilities, 'executeCommandProvider', 'commands') or {}
    for _, command in ipairs({ 'm4.plan', 'm4.test', 'm4.evaluate', 'm4.preview', 'm4.deploy' }) do
      if not vim.tbl_contains(offered, command) then
        health.warn(('it does not know %s: it is older than this plugin'):format(command), { 'pip install --upgrade xmesh' })
      end
    end
  end
  if #clients == 0 then
    health.info('runs for no folder yet; it starts with the first file of M4')
  end
end

return M
