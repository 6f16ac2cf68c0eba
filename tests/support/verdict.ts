/**
 * What `verify.ts` says of an address.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { Name, Row } from "../../verify/checks.ts";
import { formatAddress } from "../../lib/startup.ts";
import { run } from "./commands.ts";
import type { Address } from "./program.ts";

/** What it says. */
export class Verdict {
  private constructor(
    /** Whether nothing was wrong. */
    readonly passed: boolean,
    /** Whether the server echoes before the half-close. */
    readonly echoesEarly: boolean,
    private readonly checks: Row[],
  ) {}

  /**
   * Runs `verify.ts`, with the permission that it is documented to need.
   *
   * @param address What is verified.
   * @param flags Flags for it.
   * @returns The verdict, which its exit status agrees with.
   */
  static async on({ hostname, port }: Address, ...flags: string[]): Promise<Verdict> {
    const at = formatAddress({ hostname, port });
    const verify = ["run", "--no-prompt", `--allow-net=${at}`, "verify.ts", at, "--json", ...flags];
    const { code, stdout, stderr } = await run([Deno.execPath(), ...verify]);
    assertEquals(stderr, "");
    const { passed, echoesEarly, checks } = JSON.parse(stdout);
    assertEquals(code, passed ? 0 : 1);
    return new Verdict(passed, echoesEarly, checks);
  }

  /** The names of the rows that failed, in their order. */
  get failed(): Name[] {
    return this.checks.filter(({ result }) => result === "failed").map(({ name }) => name);
  }

  /** A row: its result, what was seen, and what that points to. */
  row(name: Name): string {
    const row = this.checks.find((row) => row.name === name);
    if (row === undefined) throw new Error(`there is no row ${name}`);
    return [row.result, row.seen, row.pointsTo].filter((part) => part !== undefined).join("; ");
  }
}
