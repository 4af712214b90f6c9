/**
 * Tells files of the M4 language from files of GNU m4, which share the suffix `.m4`.
 * The plugins of Neovim (`editors/neovim/lua/m4/detect.lua`) and Emacs have the same rule, and so has the compiler for files of
 * which nobody says whose they are (`compiler/m4c/files.py`); all are tested on `tests/editors/detect`.
 */

/** How much of a file is looked at, in UTF-16 units; long enough for a licence header. */
export const LOOKED_AT = 65_536;

const COMMENTS = /"(?:[^"\\\n]|\\.)*"|\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/g;

/** A line that only GNU m4 has: its own macros, and those of Autoconf and of sendmail. */
const GNU = new RegExp(
  "^[ \\t]*(?:dnl\\b|(?:A[CMX]|AH|AS|AU|LT|PKG)_[A-Z]|m4_[a-z]" +
    "|(?:define|undefine|ifdef|ifelse|s?include|un?divert|divert|changequote|changecom|pushdef|popdef|syscmd|esyscmd|VERSIONID|OSTYPE|MAILER|FEATURE)\\()",
  "m",
);

const NAME = '(?:[\\w-]+|"[^"\\n]*")';

/** A line that begins a declaration of M4, with or without annotations before it. */
const DECLARATION = new RegExp(
  '^[ \\t]*(?:@\\w+(?:\\([^()\\n]*\\))?[ \\t]*)*(?:' +
    [
      '(?:import|test)[ \\t]*"',
      `(?:mesh|spec|entity|enum)[ \\t]+${NAME}[ \\t]*(?:[{;]|over\\b|extends\\b|$)`,
      `(?:policy|template|apply)[ \\t]+${NAME}[ \\t]*(?:\\(|$)`,
      `state[ \\t]+${NAME}[ \\t]+${NAME}[ \\t]*(?:[({;]|per\\b|$)`,
    ].join("|") +
    ")",
  "m",
);

/** Whether a text with the suffix `.m4` is a program of the M4 language: a declaration stands in it, and no macro before that. */
export function looksLikeM4(text: string): boolean {
  const code = text.slice(0, LOOKED_AT).replace(COMMENTS, (match) => (match.startsWith('"') ? match : " "));
  const ours = code.search(DECLARATION);
  const gnu = code.search(GNU);
  return ours >= 0 && (gnu < 0 || ours < gnu);
}
