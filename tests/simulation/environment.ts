/**
 * What the simulated parts know of the simulator.
 *
 * @module
 */

import type { WhenReady } from "../support/when_ready.ts";
import type { Disk } from "./disk.ts";
import type { Memory } from "./memory.ts";
import type { Peer } from "./peer.ts";
import type { Stderr } from "./stderr.ts";

/** Everything around a server process: time, disk, stderr, clients. */
export interface Environment {
  /** The disk that holds the access log. */
  readonly disk: Disk;
  /** Where the diagnostics go. */
  readonly stderr: Stderr;
  /** Milliseconds for which the process was stopped or busy in all. So much later anything may happen. */
  readonly slack: number;
  /** Milliseconds since the start. */
  readonly now: () => number;
  /** What buffers are allocated from. */
  readonly memory: Memory;
  /** Whether what runs is not a promise reaction. */
  readonly isInCallback: boolean;
  /** Iterations of the event loop. */
  readonly iterations: number;
  /** Completes a read or write of a connection, once the event loop polls it. */
  readonly whenReady: WhenReady;
  /** Completes an accept, or a write to stderr, once the event loop polls it. */
  readonly whenOtherReady: WhenReady;
  /** Calls back in the next iteration of the event loop. */
  readonly nextIteration: (callback: () => void) => void;
  /** An invariant is violated. The first violation ends the run after the step. */
  readonly violated: (how: string) => void;
  /** Counts an event for the statistics. */
  readonly count: (event: string, by?: number) => void;
  /** Adds a line to the description of the run. */
  readonly note: (what: () => string) => void;
  /** The server closes a connection that it does not serve. */
  readonly onUnserved: (peer: Peer) => void;
  /** The server closes a connection. */
  readonly onClose: (peer: Peer) => void;
}
