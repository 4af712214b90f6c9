// What the grammar of words takes texts for: reads a JSON list of texts, writes for each the pieces of each of its
// lines, as [end, innermost scope]. Usage: node scopes.mjs EXTENSION
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const extension = resolve(process.argv[2]);
const require = createRequire(join(extension, "package.json"));
const { Registry, parseRawGrammar, INITIAL } = require("vscode-textmate");
const oniguruma = require("vscode-oniguruma");

await oniguruma.loadWASM(readFileSync(require.resolve("vscode-oniguruma/release/onig.wasm")));
const path = join(extension, "syntaxes/m4.tmLanguage.json");
const registry = new Registry({
  onigLib: Promise.resolve({
    createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
    createOnigString: (text) => new oniguruma.OnigString(text),
  }),
  loadGrammar: async () => parseRawGrammar(readFileSync(path, "utf8"), path),
});
const grammar = await registry.loadGrammar("source.xmesh.m4");

const texts = JSON.parse(readFileSync(0, "utf8"));
const found = texts.map((text) => {
  let state = INITIAL;
  return text.split(/\r\n|\n|\r/).map((line) => {
    const { tokens, ruleStack } = grammar.tokenizeLine(line, state);
    state = ruleStack;
    return tokens.map((t) => [t.endIndex, t.scopes.at(-1)]);
  });
});
process.stdout.write(JSON.stringify(found));
