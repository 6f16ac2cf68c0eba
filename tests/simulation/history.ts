/**
 * What is drawn for a history.
 *
 * @module
 */

import fc from "fast-check";
import type { Draw } from "./draw.ts";
import type { Setup } from "./life.ts";

/** All that is left to chance in one history. */
export interface History {
  /** What the servers keep to, and how the history ends. */
  setup: number;
  /** Which faults there are: a bit for each. With some of them missing, the others get further. */
  faults: number;
  /** What happens, one number each. */
  steps: number[];
}

const number = fc.noBias(fc.nat(0xffff_ffff));

/** Histories of any length up to 120 steps. They shrink to fewer steps, fewer faults and smaller choices. */
export const histories: fc.Arbitrary<History> = fc.record({
  setup: number,
  faults: number,
  steps: fc.array(number, { maxLength: 120, size: "max" }),
});

/** Draws what servers keep to: limits that are reached now and then. */
export function drawSetup(draw: Draw): Setup {
  return {
    maxClients: draw.of(4, 1, 1, 2, 20),
    maxMessage: draw.of(100_000, 10, 4096, 20_480),
    maxBuffered: draw.of(1_000_000, 0, 8192, 20_480, 40_000, 110_592),
    idleTimeout: draw.of(60, 0, 0.5, 1),
    drainTimeout: draw.of(1, 3, 3, 3, 0, 0, 0.01, 0.03),
    maxQueued: draw.of(1_000_000, 1, 60, 200),
    cost: draw.below(8) === 7 ? draw.of(1, 2, 0.25) : 0,
    maxAccepts: draw.below(8) === 7 ? 1 + draw.below(12) : 1_000_000,
  };
}
