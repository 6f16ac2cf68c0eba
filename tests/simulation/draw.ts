/**
 * Choices out of numbers.
 *
 * @module
 */

/** Numbers from here on never run out of choices. */
const ENDLESS = 2 ** 24;

/** Draws choices out of one number. A smaller number makes smaller and fewer choices: then it is the first every time. */
export class Draw {
  #rest: number;
  #next: number; // what is drawn from when the rest is used up; 0 if nothing is

  /** @param from The number, whole and below 2 ** 32. */
  constructor(from: number) {
    this.#rest = from;
    this.#next = from < ENDLESS ? 0 : from;
  }

  /** Draws a whole number from 0 to below `limit`; 0 if there is none. */
  below(limit: number): number {
    if (limit === 0) return 0;
    if (this.#rest === 0 && this.#next !== 0) {
      this.#next = Math.imul(this.#next ^ (this.#next >>> 15), 0x2c1b3c6d) >>> 0;
      this.#rest = (this.#next ^ (this.#next >>> 12)) >>> 0;
    }
    const drawn = this.#rest % limit;
    this.#rest = Math.floor(this.#rest / limit);
    return drawn;
  }

  /** Draws one of several things. */
  of<T>(first: T, ...others: T[]): T {
    return others[this.below(others.length + 1) - 1] ?? first;
  }
}
