import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";

import { findServer } from "../../src/serverPath.ts";

let root = "";
let folder = "";
let inFolder = "";
let onPath = "";

function program(file: string, mode = 0o755): string {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, "#!/bin/sh\n");
  chmodSync(file, mode);
  return file;
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "m4-server-"));
  folder = join(root, "workspace");
  inFolder = program(join(folder, ".venv/bin/m4ls"));
  onPath = program(join(root, "bin/m4ls"));
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

const look = (setting: string, trusted: boolean, searchPath = dirname(onPath)) =>
  findServer({ setting, folders: [folder], trusted, searchPath });

test("the workspace's own environment comes before the PATH", () => {
  assert.equal(look("", true).found, inFolder);
});

test("an untrusted workspace's own server is never run", () => {
  const search = look("", false);
  assert.equal(search.found, onPath);
  assert.ok(!search.tried.includes(inFolder));
});

test("relative entries of the PATH are passed over", () => {
  assert.equal(look("", false, [".", "bin", ""].join(delimiter)).found, undefined);
});

test("the setting wins and is not replaced when it is wrong", () => {
  assert.equal(look("${workspaceFolder}/.venv/bin/m4ls", true).found, inFolder);
  assert.deepEqual(look("/nowhere/m4ls", true), { found: undefined, tried: ["/nowhere/m4ls"], fromSetting: true });
  assert.deepEqual(look("~/no/such/m4ls", true).tried, [join(homedir(), "no/such/m4ls")]);
});

test("a file that cannot be executed, or a folder, is no server", () => {
  chmodSync(inFolder, 0o644);
  rmSync(onPath);
  mkdirSync(onPath);
  assert.equal(look("", true).found, undefined);
});
