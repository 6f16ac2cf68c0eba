/**
 * The bytes of messages.
 *
 * @module
 */

/** The bytes of a message, from the first to the last. */
export interface Content {
  /** Fills a buffer with the next bytes, and returns it. */
  fill(buffer: Uint8Array): Uint8Array;
}

/**
 * Bytes that depend on their position: one that is shifted, repeated or lost shows. They are computed as they are
 * needed, so that neither the sender nor the receiver of a message holds it.
 */
export class Pattern implements Content {
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
