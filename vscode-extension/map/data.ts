/** What a map is drawn from: the answer of `m4.map`, or the data of a page of `m4 graph show --web`. */

export interface Location {
  readonly uri: string;
  readonly range: { readonly start: { readonly line: number; readonly character: number } };
}

export interface Runs {
  readonly policy: string;
  readonly operation: string;
  readonly side: string;
  readonly hop: readonly [string, string];
  readonly source: Location | null;
}

export interface Service {
  readonly name: string;
  readonly entry: boolean;
  readonly external: boolean;
  readonly versions: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly elements: readonly { readonly dataplane: string; readonly tier: string; readonly reasons: readonly string[]; readonly runs: readonly Runs[] }[];
  readonly source: Location | null;
}

export interface Policy {
  readonly name: string;
  readonly owner: string | null;
  readonly source: Location;
  readonly matched: number | null;
  readonly paths: readonly (readonly string[])[];
  readonly conflicts: number;
}

export interface Conflict {
  readonly code: string;
  readonly message: string;
  readonly policies: readonly string[];
  readonly path: readonly string[];
  readonly source: Location;
}

export interface Mesh {
  readonly mesh: string;
  readonly planned: boolean;
  readonly bits: number;
  readonly services: readonly Service[];
  readonly calls: readonly { readonly caller: string; readonly callee: string; readonly source: Location | null }[];
  readonly policies: readonly Policy[];
  readonly conflicts: readonly Conflict[];
}

/** The hops of call paths, as `caller → callee`; `outside` is no service. */
export function hops(paths: readonly (readonly string[])[]): Set<string> {
  return new Set(paths.flatMap((path) => path.slice(1).map((callee, at) => hop(path[at] ?? "", callee))));
}

export function hop(caller: string, callee: string): string {
  return JSON.stringify([caller, callee]);
}

/** The hops that a policy is about: those of its call paths, else those on which it runs. */
export function hopsOf(mesh: Mesh, policy: Policy): Set<string> {
  if (policy.paths.length > 0) {
    return hops(policy.paths);
  }
  const runs = mesh.services.flatMap((service) => service.elements).flatMap((element) => element.runs);
  return new Set(runs.filter((one) => one.policy === policy.name).map((one) => hop(...one.hop)));
}

export function matchedText(policy: Policy): string {
  if (policy.matched === null) {
    return "";
  }
  return policy.matched < 0 ? "endless paths" : `${String(policy.matched)} path${policy.matched === 1 ? "" : "s"}`;
}
