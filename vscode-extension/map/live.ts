/** What is counted while a mesh is deployed: the answer of `m4.top`, and in which words it is shown. */

interface Counts {
  readonly caller: string;
  readonly callee: string;
  readonly seen: number;
  readonly allowed: number;
  /** Requests that did not go on: denied, redirected, or answered otherwise. */
  readonly ended: number;
  readonly rate: number;
  readonly ended_rate: number;
}

export interface Hop extends Counts {
  readonly service: string;
  readonly dataplane: string;
  readonly tagged: number | null;
  readonly errors: number;
}

interface Ended {
  readonly policy: string;
  readonly caller: string;
  readonly callee: string;
  readonly service: string;
  readonly dataplane: string;
  readonly ended: number;
  readonly rate: number;
}

export interface Live {
  readonly mesh: string;
  readonly deployed: boolean;
  /** What is wrong, in words. */
  readonly message: string;
  /** Only of a deployment that answers. */
  readonly calls?: readonly Counts[];
  readonly hops?: readonly Hop[];
  readonly policies?: readonly Ended[];
}

/** How long counts are shown when there is no answer any more, in milliseconds. */
export const STALE = 6_000;

/** How long it is until the next question, in milliseconds: counts change all the time, that something is deployed does not. */
export function pause(live: Live | undefined): number {
  return live?.deployed === true ? 1_000 : 5_000;
}

/** What is known at all, in a line. */
export function stateText(live: Live): string {
  if (live.calls === undefined) {
    return `No live counts: ${live.message}`;
  }
  return live.message === "" ? "Live counts" : `Live counts; ${live.message}`;
}

function number(value: number): string {
  return value.toLocaleString("en");
}

export function rate(value: number): string {
  return `${value < 10 ? value.toFixed(1).replace(/\.0$/, "") : number(Math.round(value))}/s`;
}

/** Beside a line of the map: what goes on there now; nothing if that is nothing. */
export function edgeText(call: Counts): string {
  return call.rate === 0 ? "" : `${rate(call.rate)}${call.ended_rate === 0 ? "" : `\n${rate(call.ended_rate)} ended`}`;
}

/** How wide the line is. */
export function width(call: Counts): number {
  return Math.min(9, 1.5 + 2 * Math.log10(1 + call.rate));
}

/** Which part of what comes goes on, in per cent. */
export function passing(call: Counts): number {
  return call.rate === 0 ? 100 : Math.round(100 * Math.max(0, 1 - call.ended_rate / call.rate));
}

export function totals(call: Counts): string {
  const ended = call.ended === 0 ? "" : ` · ${number(call.ended)} ended`;
  return call.seen === 0 ? "nothing yet" : `${rate(call.rate)} · ${number(call.allowed)} allowed${ended}`;
}

/** The counts of each element at which something is selected, and what policies ended there. */
export function countsOf(live: Live | undefined, about: { policy?: string | undefined; service?: string | undefined; call?: readonly [string, string] | undefined }): { title: string; rows: string[] }[] {
  const here = (one: Hop | Ended): boolean =>
    about.policy !== undefined ? "policy" in one && one.policy === about.policy
    : about.call !== undefined ? one.caller === about.call[0] && one.callee === about.call[1]
    : one.service === about.service;
  const ended = (live?.policies ?? []).filter((one) => here(one) && (about.policy !== undefined || one.ended > 0));
  const hops = (live?.hops ?? []).filter(here);
  const places = new Map<string, string[]>();
  for (const one of [...hops, ...ended]) {
    const title = `${one.dataplane} at ${one.service}`;
    const row = "policy" in one ? `${one.policy} ended ${number(one.ended)} (${rate(one.rate)})` : `${totals(one)}${one.errors > 0 ? ` · ${number(one.errors)} errors` : ""}${(one.tagged ?? 0) > 0 ? ` · ${number(one.tagged ?? 0)} tagged` : ""}`;
    const where = about.call === undefined ? `${one.caller} → ${one.callee}: ` : "";
    places.set(title, [...(places.get(title) ?? []), where + row]);
  }
  return [...places].map(([title, rows]) => ({ title, rows }));
}
