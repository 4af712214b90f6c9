if vim.g.loaded_m4 then
  return
end
vim.g.loaded_m4 = true

for name, command in pairs({
  M4Plan = { 'plan', 'M4: show the plan' },
  M4Status = { 'status', 'M4: show what is deployed' },
  M4Test = { 'test', 'M4: run the tests' },
  M4Build = { 'build', 'M4: build artifacts' },
  M4Deploy = { 'deploy', 'M4: deploy' },
  M4Undeploy = { 'undeploy', 'M4: undeploy' },
}) do
  vim.api.nvim_create_user_command(name, function(given)
    require('m4')[command[1]](given.args)
  end, { nargs = '?', complete = 'file', desc = command[2] })
end

vim.api.nvim_create_user_command('M4Evaluate', function(given)
  local request = given.args ~= '' and given.args or nil
  require('m4').evaluate(nil, nil, request, given.bang)
end, { nargs = '?', bang = true, desc = 'M4: show what a request gets; with ! another one' })

vim.api.nvim_create_user_command('M4Preview', function()
  require('m4').preview()
end, { desc = 'M4: show what the policy at the cursor becomes' })

vim.api.nvim_create_user_command('M4Trust', function(given)
  require('m4').trust(not given.bang)
end, { bang = true, desc = 'M4: let this folder be built, previewed and deployed; with ! not any more' })

vim.api.nvim_create_user_command('M4Clear', function()
  require('m4.evaluate').clear()
end, { desc = 'M4: show no evaluation any more' })

vim.api.nvim_create_user_command('M4Restart', function()
  require('m4').restart()
end, { desc = 'M4: restart the language server' })

vim.api.nvim_create_user_command('M4Lens', function()
  vim.lsp.codelens.run()
end, { desc = 'M4: do what stands above this policy or test' })

-- Lenses move with the text; what they say changes with the plan.
vim.api.nvim_create_autocmd({ 'LspAttach', 'InsertLeave', 'TextChanged' }, {
  group = vim.api.nvim_create_augroup('m4_lenses', {}),
  pattern = '*.m4',
  desc = 'M4: draw the lenses',
  callback = function(event)
    for _, client in ipairs(vim.lsp.get_clients({ bufnr = event.buf, name = 'm4ls' })) do
      require('m4').draw(client.id)
      require('m4.evaluate').again(client)
      require('m4.preview').again(client)
    end
  end,
})

-- Neovim watches files on some systems only. What is saved beside the policies counts at once on all of them.
vim.api.nvim_create_autocmd('BufWritePost', {
  group = vim.api.nvim_create_augroup('m4_saved', {}),
  pattern = { '*.j2', '*.yaml', '*.yml', '*.json', 'm4.toml' },
  desc = 'M4: tell the language server what was saved',
  callback = function(event)
    local file = vim.uv.fs_realpath(event.match)
    for _, client in ipairs(file and vim.lsp.get_clients({ name = 'm4ls' }) or {}) do
      local root = client.root_dir and vim.uv.fs_realpath(client.root_dir)
      if root and vim.startswith(file, root .. '/') then
        local changes = { { uri = vim.uri_from_fname(file), type = vim.lsp.protocol.FileChangeType.Changed } }
        client:notify('workspace/didChangeWatchedFiles', { changes = changes })
      end
    end
  end,
})

-- Graphs are of another file type: the server of their mesh gets them, too, whichever is opened first.
local graphs = { '*.graph.yaml', '*.graph.yml', '*.graph.json' }
vim.api.nvim_create_autocmd({ 'BufReadPost', 'BufNewFile', 'LspAttach' }, {
  group = vim.api.nvim_create_augroup('m4_graphs', {}),
  pattern = vim.list_extend({ '*.m4' }, graphs),
  desc = 'M4: hand graphs to the language server',
  callback = function()
    require('m4').take_graphs()
  end,
})

-- A deployment takes a while: its steps go to the message line.
vim.api.nvim_create_autocmd('LspProgress', {
  group = vim.api.nvim_create_augroup('m4_progress', {}),
  desc = 'M4: show the progress of the language server',
  callback = function(event)
    local client = vim.lsp.get_client_by_id(event.data.client_id)
    local value = event.data.params.value
    if client and client.name == 'm4ls' and type(value) == 'table' then
      local step = value.kind == 'end' and 'done' or value.message or ''
      vim.api.nvim_echo({ { ('M4: %s %s'):format(value.title or '', step) } }, false, {})
    end
  end,
})
