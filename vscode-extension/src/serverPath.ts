/** Finds the language server on this machine. */

import { accessSync, constants, statSync } from "node:fs";
import { homedir } from "node:os";
import * as path from "node:path";

export interface Surroundings {
  /** The setting `m4.server.path`; empty if not set. */
  readonly setting: string;
  /** The folders of the workspace, absolute. */
  readonly folders: readonly string[];
  /** Programs that lie in the workspace run only if it is trusted. */
  readonly trusted: boolean;
  /** The environment variable PATH. */
  readonly searchPath: string;
}

export interface Search {
  /** The server, or nothing if none was found. */
  readonly found: string | undefined;
  /** Where it was looked for, in order, for the message. */
  readonly tried: readonly string[];
  /** Whether the setting says where. */
  readonly fromSetting: boolean;
}

const WINDOWS = process.platform === "win32";
const IN_ENVIRONMENT = WINDOWS ? path.join("Scripts", "m4ls.exe") : path.join("bin", "m4ls");
const ON_PATH = WINDOWS ? "m4ls.exe" : "m4ls";

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

function expand(setting: string, folders: readonly string[]): string {
  const folder = folders[0] ?? "";
  return setting.replace(/^~(?=$|[/\\])/, homedir()).replaceAll("${workspaceFolder}", folder);
}

/**
 * Looks at the setting, then at the virtual environment of each workspace folder, then along the PATH.
 * A setting that names no program is not replaced by another server: the user wanted that one.
 */
export function findServer(surroundings: Surroundings): Search {
  const { setting, folders, trusted, searchPath } = surroundings;
  if (setting !== "") {
    const file = expand(setting, folders);
    return { found: isExecutable(file) ? file : undefined, tried: [file], fromSetting: true };
  }
  const inFolders = trusted ? folders.map((folder) => path.join(folder, ".venv", IN_ENVIRONMENT)) : [];
  // A relative entry of the PATH would be resolved in whatever folder is open.
  const onPath = searchPath
    .split(path.delimiter)
    .filter((folder) => path.isAbsolute(folder))
    .map((folder) => path.join(folder, ON_PATH));
  return {
    found: [...inFolders, ...onPath].find(isExecutable),
    tried: [...inFolders, `${ON_PATH} on the PATH`],
    fromSetting: false,
  };
}
