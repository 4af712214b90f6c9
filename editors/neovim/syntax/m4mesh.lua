-- Colours for M4. The language server knows the meaning; this knows the words.
if vim.b.current_syntax then
  return
end

local function syntax(text)
  vim.cmd('syntax ' .. text)
end

syntax([[keyword m4Declaration policy mesh spec entity enum state operation attribute condition test template apply import let]])
syntax([[keyword m4Clause on when overrides after at per over merge default emits writes reads with from before travels terminal]])
syntax([[keyword m4Conditional if else]])
syntax([[keyword m4Operator in starts_with ends_with matches exists]])
syntax([[match m4Operator /\<contains\>/]]) -- `contains` has a meaning in :syntax keyword
syntax([[keyword m4Side ingress egress outside]])
syntax([[keyword m4Boolean true false]])
syntax([[match m4Member /\v%(^|[{;])\s*\zs<%(graph|dataplanes|place|cost|propagate|group|tag_bits|tier|context|peer|speaks|protocols|artifact|supports|request|expect)>/]])
syntax([[match m4Operator /->\|&&\|||\|==\|!=\|<=\|>=\|[<>!*?|]/]])
syntax([[match m4Operation /\v\.\s*\zs\h\w*\ze\s*\(/]])
syntax([[match m4Property /\v\.\s*\zs\h\w*>\ze%(\s*\()@!/]])
syntax([[match m4Number /\v<\d+%(\.\d+)?%(%(ns|us|ms|s|m|h)>|\%|\/[smh]>)?/]])
syntax([[match m4Annotation /@\h\w*/]])
syntax([[region m4String start=/"/ skip=/\\./ end=/"/ oneline]])
syntax([[region m4Regex start=/\<r"/ skip=/\\./ end=/"/ oneline]])
syntax([[match m4Comment "//.*$" contains=@Spell]])
syntax([[match m4DocComment "///.*$" contains=@Spell]])
syntax([[region m4Comment start="/\*" end="\*/" contains=@Spell]])

for name, group in pairs({
  Declaration = 'Keyword',
  Clause = 'Statement',
  Conditional = 'Conditional',
  Operator = 'Operator',
  Side = 'Constant',
  Boolean = 'Boolean',
  Member = 'Statement',
  Operation = 'Function',
  Property = 'Identifier',
  Number = 'Number',
  Annotation = 'PreProc',
  String = 'String',
  Regex = 'String',
  Comment = 'Comment',
  DocComment = 'SpecialComment',
}) do
  vim.cmd(('highlight default link m4%s %s'):format(name, group))
end

-- What the server says of names, where Neovim has no colour of its own for that.
for name, group in pairs({ service = 'Type', group = 'Identifier', version = 'Constant', label = 'Identifier' }) do
  vim.cmd(('highlight default link @lsp.type.%s.m4mesh %s'):format(name, group))
end

vim.b.current_syntax = 'm4mesh'
