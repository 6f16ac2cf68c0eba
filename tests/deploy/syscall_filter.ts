/**
 * Which system calls a unit allows.
 *
 * @module
 */

import { output } from "../support/commands.ts";
import type { Unit } from "./unit.ts";

/**
 * Reads a unit's `SystemCallFilter=`, first a list of allowed calls, then lists of forbidden ones.
 *
 * @param unit The unit.
 * @returns The names of the calls that are allowed.
 */
export async function allowedCalls(unit: Unit): Promise<string[]> {
  const sets = new Map<string, string[]>();
  let members: string[] = [];
  for (const line of (await output("systemd-analyze", "syscall-filter", "--no-pager")).split("\n")) {
    if (line.startsWith("@")) sets.set(line, members = []);
    else if (/^ {4}[@a-z_]/.test(line)) members.push(line.trim());
  }
  const expand = (name: string): string[] => sets.get(name)?.flatMap(expand) ?? [name];
  const allowed = new Set<string>();
  for (const list of unit.all("SystemCallFilter")) {
    const calls = list.replace(/^~/, "").split(" ").flatMap(expand);
    for (const call of calls) list.startsWith("~") ? allowed.delete(call) : allowed.add(call);
  }
  return [...allowed];
}
