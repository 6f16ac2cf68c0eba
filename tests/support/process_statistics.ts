/**
 * What the kernel says of a process. Deno itself reads nothing in `/proc` unless it is granted everything.
 *
 * @module
 */

import { output } from "./commands.ts";

/** Clock ticks a second in `/proc`: the same on every Linux. */
const TICKS_PER_SECOND = 100;

/** What a process uses. */
export interface ProcessStatistics {
  /** Seconds of CPU used since it was started, in all its threads. */
  cpu: number;
  /** Resident memory at this moment, in bytes. */
  resident: number;
  /** The most resident memory there ever was, in bytes. */
  residentPeak: number;
  /** Descriptors that are open. */
  descriptors: number;
}

/** What a process uses at this moment. */
export async function processStatistics(pid: number): Promise<ProcessStatistics> {
  const read = `cd /proc/${pid} && cat stat status && echo Descriptors: $(ls fd | wc -l)`;
  const [stat = "", ...status] = (await output("sh", "-c", read)).split("\n");
  const number = (name: string) => parseInt(status.find((line) => line.startsWith(`${name}:`))?.split(":")[1] ?? "");
  // After the name, which stands in parentheses, the fields are counted from the third: state.
  const fields = stat.replace(/^.*\) /, "").split(" ");
  return {
    cpu: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
    resident: number("VmRSS") * 1024,
    residentPeak: number("VmHWM") * 1024,
    descriptors: number("Descriptors"),
  };
}

/** The TCP ports over IPv4 that a process listens on at this moment. */
export async function listeningPorts(pid: number): Promise<number[]> {
  const text = await output("sh", "-c", `cd /proc/${pid} && { ls -l fd 2>/dev/null; cat net/tcp; }`);
  const inodes = new Set(Array.from(text.matchAll(/socket:\[(\d+)\]/g), ([, inode]) => inode));
  return text.split("\n").map((line) => line.trim().split(/\s+/))
    .filter(([, , , state, , , , , , inode]) => state === "0A" && inodes.has(inode))
    .map(([, local]) => parseInt(local?.split(":")[1] ?? "", 16));
}
