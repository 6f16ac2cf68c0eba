/**
 * The order in which clients read and write, so that none is starved by others that are busy.
 *
 * @module
 */

import type { Clock } from "./clock.ts";

/** How many operations of each client never wait: one that sends little is served as if it were alone. */
const FREE_OPERATIONS = 8;

/** Operations of a batch. Deno polls all pending operations in one task, of which Tokio lets 128 succeed at a time. */
const BATCH_SIZE = 64;

/**
 * Milliseconds from the event-loop iteration of one batch to the next batch. A timer, because Deno polls epoll before it
 * waits for one; it starts after that iteration, because a timer that is due already is not waited for.
 */
const BATCH_INTERVAL_MS = 1;

/**
 * A fair queue: the reads and writes of all clients, except the first few of each, begin in FIFO order, one batch
 * after the other. Without it, Deno would serve the same few of thousands of ready operations again and again.
 *
 * @example Read in turn
 * ```ts ignore
 * const turn = queue.enter(++operations);
 * if (turn !== undefined) await turn;
 * await conn.read(buffer);
 * ```
 */
export class FairQueue {
  readonly #waiting: (() => void)[] = [];
  #begun = 0; // operations of this batch
  #isBusy = false; // while a next batch is scheduled
  #isHeld = false;

  /**
   * Makes an empty queue.
   *
   * @param clock The clock of the batches.
   */
  constructor(private readonly clock: Clock) {}

  /** Operations that wait. */
  get length(): number {
    return this.#waiting.length;
  }

  /**
   * Asks for one operation.
   *
   * @param operation The number of the operation among those of its client, from 1.
   * @returns `undefined` if it may begin at once; otherwise resolves when it may.
   */
  enter(operation: number): Promise<void> | undefined {
    if (operation <= FREE_OPERATIONS && !this.#isHeld) return undefined;
    if (!this.#isBusy) this.#scheduleBatch();
    if (this.#begun < BATCH_SIZE && this.#waiting.length === 0 && !this.#isHeld) {
      this.#begun++;
      return undefined;
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** From now on lets no operation begin. */
  hold(): void {
    this.#isHeld = true;
  }

  /** Lets operations begin again. */
  open(): void {
    this.#isHeld = false;
  }

  #scheduleBatch(): void {
    this.#isBusy = true;
    this.clock.nextIteration(() => this.clock.after(BATCH_INTERVAL_MS, this.#nextBatch));
  }

  readonly #nextBatch = (): void => {
    const batch = this.#isHeld ? [] : this.#waiting.splice(0, BATCH_SIZE);
    this.#begun = batch.length;
    this.#isBusy = false;
    if (this.#begun + this.#waiting.length > 0) this.#scheduleBatch();
    for (const begin of batch) begin();
  };
}
