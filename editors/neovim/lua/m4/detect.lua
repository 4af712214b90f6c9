--- Tells files of the M4 language from files of GNU m4, which share the suffix `.m4`.
--- The VS Code extension has the same rule (`src/language.ts`), as have Emacs and the compiler; all are tested on
--- `tests/editors/detect`.
local M = {}

--- How many lines of a file are looked at; enough for a licence header.
local LOOKED_AT = 1000

--- Vim regular expressions, case-sensitive and very magic, matched against a line without comments.
local GNU = vim.regex([=[\v\C^\s*%(dnl>|%(A[CMX]|AH|AS|AU|LT|PKG)_[A-Z]|m4_[a-z]]=]
  .. [=[|%(define|undefine|ifdef|ifelse|s?include|un?divert|divert|changequote|changecom|pushdef|popdef|syscmd|esyscmd]=]
  .. [=[|VERSIONID|OSTYPE|MAILER|FEATURE)\()]=])
local NAME = [=[%((\w|-)+|"[^"]*")]=]
local DECLARATION = vim.regex([=[\v\C^\s*%(\@\w+%(\([^()]*\))?\s*)*%(%(import|test)\s*"]=]
  .. [=[|%(mesh|spec|entity|enum)\s+]=] .. NAME .. [=[\s*%([{;]|over>|extends>|$)]=]
  .. [=[|%(policy|template|apply)\s+]=] .. NAME .. [=[\s*%(\(|$)]=]
  .. [=[|state\s+]=] .. NAME .. [=[\s+]=] .. NAME .. [=[\s*%([({;]|per>|$))]=])

--- A line without its comments.
--- @param line string
--- @param inside boolean whether the line begins within a block comment
--- @return string code, boolean inside whether a block comment is open at its end
local function without_comments(line, inside)
  local code, at = {}, 1
  while at <= #line do
    if inside then
      local _, close = line:find('*/', at, true)
      if not close then
        return table.concat(code), true
      end
      inside, at = false, close + 1
    elseif line:find('^//', at) then
      break
    elseif line:find('^/%*', at) then
      inside, at = true, at + 2
      table.insert(code, ' ')
    elseif line:sub(at, at) == '"' then
      local stop = at + 1
      while stop <= #line and line:sub(stop, stop) ~= '"' do
        stop = stop + (line:sub(stop, stop) == '\\' and 2 or 1)
      end
      table.insert(code, line:sub(at, stop))
      at = stop + 1
    else
      table.insert(code, line:sub(at, at))
      at = at + 1
    end
  end
  return table.concat(code), inside
end

--- Whether these lines of a file with the suffix `.m4` are a program of the M4 language: a declaration stands in them,
--- and no macro of GNU m4 before it.
--- @param lines string[]
--- @return boolean
function M.is_m4(lines)
  local inside, code = false, nil
  for _, line in ipairs(lines) do
    code, inside = without_comments(line, inside)
    if GNU:match_str(code) then
      return false
    elseif DECLARATION:match_str(code) then
      return true
    end
  end
  return false
end

--- The same for a buffer.
--- @param bufnr integer
--- @return boolean
function M.is_m4_buffer(bufnr)
  return M.is_m4(vim.api.nvim_buf_get_lines(bufnr, 0, LOOKED_AT, false))
end

return M
