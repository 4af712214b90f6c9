// Bundles the extension into out/extension.js and its map into out/map.js, and the licences of what is bundled into
// out/NOTICES.txt: node esbuild.mjs
// `m4 graph show --web` has the same map: what is built goes to compiler/m4c/web, too, and is kept there.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { build } from "esbuild";

const shared = { bundle: true, minify: true, metafile: true, logLevel: "warning" };
const extension = await build({
  ...shared,
  entryPoints: ["src/extension.ts"],
  outfile: "out/extension.js",
  platform: "node",
  format: "cjs",
  target: "node20", // the extension host of VS Code 1.91
  external: ["vscode"],
});
const map = await build({
  ...shared,
  entryPoints: ["map/map.ts"],
  outfile: "out/map.js",
  platform: "browser",
  format: "iife",
  target: "es2022",
  legalComments: "none", // they are in the notices
});

function notices(what, ...results) {
  const inputs = results.flatMap(({ metafile }) => Object.keys(metafile.inputs));
  const packages = new Set(inputs.flatMap((file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []));
  const texts = [...packages].sort().map((folder) => {
    const { name, version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const licence = readdirSync(folder).find((file) => /^licen[cs]e/i.test(file));
    if (licence === undefined) {
      throw new Error(`${name} is bundled but has no licence file`);
    }
    return `${name} ${version}\n\n${readFileSync(join(folder, licence), "utf8").trim()}\n`;
  });
  return `${what} contains these packages:\n\n${texts.join(`\n${"-".repeat(80)}\n\n`)}`;
}

writeFileSync("out/NOTICES.txt", notices("This extension", extension, map));
const web = "../compiler/m4c/web";
mkdirSync(web, { recursive: true });
writeFileSync(join(web, "map.js"), readFileSync("out/map.js"));
writeFileSync(join(web, "NOTICES.txt"), notices("The map", map));
