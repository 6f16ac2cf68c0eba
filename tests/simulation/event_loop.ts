/**
 * Deno's event loop.
 *
 * @module
 */

import type { Draw } from "./draw.ts";

/** How an event loop differs from Deno's: its numbers are lower, so that a short trace reaches them. */
export interface EventLoopSetup {
  /** Operations that one poll ends; in Deno it is 128. 0 for one, whichever is drawn. */
  operations: number;
  /** Polls after which the kernel is asked what is ready although there is something to do; in Deno it is 61. */
  polls: number;
}

/** An operation that can end. */
interface Operation {
  end: () => void;
  /** Whether it is a read or a write of a connection. */
  isTransfer: boolean;
  /** Reads and writes that have ended since it was polled first. */
  passed: number;
}

/**
 * Polls operations as Deno and Tokio do. An iteration polls all that are ready, of which so many end. The others are put
 * off, and the last one put off is polled first in the next iteration: before it come operations begun meanwhile.
 */
export class EventLoop {
  /** Iterations so far. The callbacks are called at the end of one. */
  iterations = 0;

  readonly #setup: EventLoopSetup;
  #inKernel: Operation[] = []; // ready, but the kernel has not been asked since
  #ready: Operation[] = []; // in the order in which they are polled
  #callbacks: (() => void)[] = [];
  #polls = 0; // since the kernel was asked
  #isOver = false; // whether the last poll put off some

  constructor(setup: EventLoopSetup) {
    this.#setup = setup;
  }

  /** Operations that can end, and one more if a callback waits. */
  get length(): number {
    return this.#inKernel.length + this.#ready.length + Math.min(this.#callbacks.length, 1);
  }

  /** The most reads and writes that any ready operation has waited for; 0 if their order is drawn. */
  get longestWait(): number {
    return this.#setup.operations === 0 ? 0 : this.#ready.reduce((most, { passed }) => Math.max(most, passed), 0);
  }

  /**
   * An operation can end from now on.
   *
   * @param end Ends it.
   * @param isTransfer Whether it is a read or a write of a connection.
   * @param isKnown Whether that is known without the kernel: it could end when it began.
   */
  add(end: () => void, isTransfer: boolean, isKnown: boolean): void {
    (isKnown ? this.#ready : this.#inKernel).push({ end, isTransfer, passed: 0 });
  }

  /** Calls back in the next iteration. */
  nextIteration(callback: () => void): void {
    this.#callbacks.push(callback);
  }

  /**
   * Polls the operations once. Promise reactions run after that, and then what {@linkcode takeCallbacks} returns.
   *
   * @param several How many end at least, in any order.
   * @returns How many have ended.
   */
  poll(draw: Draw, several: number = 0): number {
    if (this.#isOver) this.#ready.reverse();
    const isIdle = this.#ready.length + this.#callbacks.length === 0;
    if (isIdle || ++this.#polls >= this.#setup.polls) {
      this.#polls = 0;
      while (this.#inKernel.length > 0) this.#ready.push(...this.#draw(this.#inKernel, draw));
    }
    const { operations } = this.#setup;
    const ending = several === 0 && operations > 0 ? this.#ready.splice(0, operations) : [];
    for (let i = several || (operations > 0 ? 0 : 1); i > 0; i--) ending.push(...this.#draw(this.#ready, draw));
    this.#isOver = this.#ready.length > 0;
    const transfers = ending.filter(({ isTransfer }) => isTransfer).length;
    for (const operation of this.#ready) operation.passed += transfers;
    for (const { end } of ending) end();
    return ending.length;
  }

  /** The callbacks of this iteration. */
  takeCallbacks(): (() => void)[] {
    this.iterations++;
    return this.#callbacks.splice(0);
  }

  #draw(operations: Operation[], draw: Draw): Operation[] {
    return operations.splice(draw.below(operations.length), 1);
  }
}
