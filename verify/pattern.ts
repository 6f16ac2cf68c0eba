/**
 * Bytes that are worth sending.
 *
 * @module
 */

/**
 * Bytes that depend on their position: one that is shifted, repeated or lost shows. They are computed as they are
 * needed, so that the sender and the receiver of a message need not hold it.
 */
export class Pattern {
  #state: number;

  /** @param seed Which bytes: other seeds, other bytes. */
  constructor(seed: number = 0) {
    this.#state = (seed * 2_654_435_761 + 1) | 0;
  }

  /** Fills a buffer with the next bytes, and returns it. */
  fill<T extends Uint8Array>(buffer: T): T {
    let state = this.#state;
    for (let i = 0; i < buffer.length; i++) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0; // a linear congruential generator
      buffer[i] = state >>> 24;
    }
    this.#state = state;
    return buffer;
  }
}
