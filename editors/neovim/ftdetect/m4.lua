-- Neovim's own rule gives every *.m4 to GNU m4 (file type `m4`). A pattern comes before it and passes on what is not ours.
vim.filetype.add({
  pattern = {
    ['.*%.m4'] = function(_, bufnr)
      if bufnr and require('m4.detect').is_m4_buffer(bufnr) then
        return 'm4mesh'
      end
    end,
  },
})

-- A new file tells what it is only while it is written.
vim.api.nvim_create_autocmd({ 'InsertLeave', 'BufWritePost' }, {
  group = vim.api.nvim_create_augroup('m4_detect', {}),
  pattern = '*.m4',
  desc = 'Look again whether a new file is a program of the M4 language',
  callback = function(event)
    local filetype = vim.bo[event.buf].filetype
    if (filetype == '' or filetype == 'm4') and require('m4.detect').is_m4_buffer(event.buf) then
      vim.bo[event.buf].filetype = 'm4mesh'
    end
  end,
})
