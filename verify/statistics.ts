/**
 * Times, and how they are distributed.
 *
 * @module
 */

/** How many took how long. */
export interface Bin {
  /** Milliseconds, at least. */
  fromMs: number;
  /** Milliseconds, less than this. */
  toMs: number;
  /** How many. */
  count: number;
}

/** Shorter times count as this. */
const SMALLEST_BIN_MS = 1 / 16;

/** How long clients took. */
export class Statistics {
  /** Seconds from the beginning to the last of them. */
  seconds = 0;

  readonly #times: number[] = [];

  /** Adds a time in milliseconds, which was known so many seconds after the beginning. */
  add(ms: number, seconds: number): void {
    this.#times.push(ms);
    this.seconds = seconds;
  }

  /** How many there are. */
  get count(): number {
    return this.#times.length;
  }

  /** The times, in milliseconds, below which these fractions of all are. */
  percentiles(...fractions: number[]): number[] {
    const sorted = this.#times.toSorted((a, b) => a - b);
    return fractions.map((fraction) => sorted[Math.ceil(sorted.length * fraction) - 1] ?? 0);
  }

  /** The distribution, in bins of which each is twice as wide as the one before it. */
  bins(): Bin[] {
    const counts = new Map<number, number>();
    for (const ms of this.#times) {
      const exponent = Math.floor(Math.log2(Math.max(ms, SMALLEST_BIN_MS)));
      counts.set(exponent, (counts.get(exponent) ?? 0) + 1);
    }
    const [first = 0, last = -1] = [Math.min(...counts.keys()), Math.max(...counts.keys())];
    return Array.from({ length: counts.size === 0 ? 0 : last - first + 1 }, (_, i) => {
      const exponent = first + i;
      return { fromMs: 2 ** exponent, toMs: 2 ** (exponent + 1), count: counts.get(exponent) ?? 0 };
    });
  }
}
