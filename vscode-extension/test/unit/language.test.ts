import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { looksLikeM4 } from "../../src/language.ts";

const SAMPLES = join(import.meta.dirname, "../../../tests/editors/detect");

for (const [kind, expected] of [["ours", true], ["gnu", false]] as const) {
  for (const name of readdirSync(join(SAMPLES, kind))) {
    test(`${kind}/${name}`, () => {
      assert.equal(looksLikeM4(readFileSync(join(SAMPLES, kind, name), "utf8")), expected);
    });
  }
}
