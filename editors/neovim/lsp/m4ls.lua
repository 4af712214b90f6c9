--- The language server of M4. Switched on by `vim.lsp.enable('m4ls')`.
--- @type vim.lsp.Config
return {
  cmd = function(dispatchers)
    return vim.lsp.rpc.start(require('m4').server(), dispatchers)
  end,
  before_init = function(params, config)
    params.initializationOptions = vim.tbl_extend('force', params.initializationOptions or {}, {
      trusted = require('m4.trust').of(config.root_dir),
    })
  end,
  on_exit = function(code, signal, client_id)
    require('m4').ended(code, signal, client_id)
  end,
  filetypes = { 'm4mesh' },
  get_language_id = function(_, filetype)
    return filetype == 'm4mesh' and 'm4' or filetype
  end,
  handlers = {
    ['$/m4/planned'] = function(_, _, ctx)
      require('m4').draw(ctx.client_id)
    end,
  },
  root_dir = function(bufnr, start)
    local root = require('m4').root(bufnr)
    if root and require('m4').server_found() then
      start(root)
    end
  end,
}
