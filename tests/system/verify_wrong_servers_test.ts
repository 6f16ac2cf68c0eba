import { assertEquals, assertMatch } from "@std/assert";
import type { Name } from "../../verify/checks.ts";
import { canRun } from "../support/permissions.ts";
import { Verdict } from "../support/verdict.ts";
import { type Fault, WrongServer } from "../support/wrong_servers.ts";

/** Short, so that a client that waits in vain gives up soon. */
const FLAGS = ["--timeout=2", "--max-message=128K", "--seconds=0.1"];

/** The row that is meant for a fault, and what it says. */
const FOUND: Record<Fault, [row: Name, says: RegExp]> = {
  "drops the last byte": ["small", /^failed; EOF after 4 of 5 bytes; .*loses the end/],
  "repeats the last byte of a buffer": ["sizes", /^failed; byte 65,537 differs: .*repeats/],
  "echoes at once": ["silence", /^skipped; early: .*RFC 862/],
  "closes both directions at the half-close": ["small", /^failed; EOF after 0 of 5 bytes; .*closes both directions/],
  "answers all clients from one buffer": ["concurrent", /^failed; .*mixes up connections/],
  "resets instead of closing": ["eof", /^failed; reset after the last byte/],
  "stops reading when its buffer is full": ["sizes", /^failed; no byte for 2 s after 0 of 65,537 bytes/],
  "never answers": ["small", /^failed; no byte for 2 s after 0 of 5 bytes; .*half-close/],
};

Deno.test({
  name: "verify finds each of eight faults in the row that is meant for it",
  ignore: !canRun,
  async fn(t) {
    const faults = Object.keys(FOUND) as Fault[];
    const verdicts = await Promise.all(faults.map(async (fault) => ({ fault, verdict: await verdictOn(fault) })));
    for (const { fault, verdict } of verdicts) {
      const [row, says] = FOUND[fault];
      await t.step(`a server that ${fault}: ${row}`, () => {
        assertMatch(verdict.row(row), says);
        assertEquals(verdict.echoesEarly, fault === "echoes at once");
        if (verdict.echoesEarly) assertEquals(verdict.failed, []); // RFC 862 allows that
      });
    }
  },
});

async function verdictOn(fault: Fault): Promise<Verdict> {
  await using server = await WrongServer.start(fault);
  return await Verdict.on(server.address, ...FLAGS);
}
