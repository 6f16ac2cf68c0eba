/**
 * Traces: all that is random in one run of the simulation.
 *
 * @module
 */

import fc from "fast-check";
import type { Draw } from "./draw.ts";
import type { Setup } from "./server_process.ts";

/** All that is random in one run. */
export interface Trace {
  /** From this the limits of the servers are drawn, and how the run ends. */
  setup: number;
  /** Which kinds of faults happen, a bit for each. With all of them at once no run gets far. */
  faults: number;
  /** The steps, one number for each. */
  steps: number[];
}

/** The most steps of a trace. */
export const MAX_STEPS = 120;

const number = fc.noBias(fc.nat(0xffff_ffff));

/** Traces of any length. They shrink to fewer steps, fewer faults and smaller choices. */
export const traces: fc.Arbitrary<Trace> = fc.record({
  setup: number,
  faults: number,
  steps: fc.array(number, { maxLength: MAX_STEPS, size: "max" }),
});

/** Formats a trace as the command line has it. */
export function formatTrace({ setup, faults, steps }: Trace): string {
  return [setup, faults, ...steps].join();
}

/** Parses what {@linkcode formatTrace} returns; `undefined` if it is something else. */
export function parseTrace(text: string): Trace | undefined {
  if (!/^\d{1,10}(,\d{1,10})+$/.test(text)) return undefined;
  const [setup = 0, faults = 0, ...steps] = text.split(",").map(Number);
  return { setup, faults, steps };
}

/** Draws the limits of the servers: they are low, so that a short trace reaches them. */
export function drawSetup(draw: Draw): Setup {
  return {
    maxClients: draw.of(4, 1, 1, 2, 20, 100),
    maxMessage: draw.of(100_000, 10, 4096, 20_480),
    maxBuffered: draw.of(1_000_000, 0, 8192, 20_480, 40_000, 110_592),
    idleTimeout: draw.of(60, 0, 0.5, 1),
    drainTimeout: draw.of(1, 3, 3, 3, 0, 0, 0.01, 0.03),
    maxQueuedBytes: draw.of(1_000_000, 1, 60, 200),
    cost: draw.below(8) === 7 ? draw.of(1, 2, 0.25) : 0,
    maxStderrWrite: draw.of(Infinity, Infinity, 30),
    operations: draw.of(0, 0, 4, 1),
    polls: draw.of(1, 3, 61),
  };
}
