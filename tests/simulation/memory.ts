/**
 * The memory that buffers are allocated from.
 *
 * @module
 */

/** What V8 says when there is no memory. */
export const OUT_OF_MEMORY = "Array buffer allocation failed";

/** Bytes from which on an allocation fails: fewer are none of a buffer. */
const MIN_BYTES = 16_384;

type Allocator = new (...args: unknown[]) => object;

const classes = { ArrayBuffer, Uint8Array };

/** Memory that can run out, for this thread. Disposing of it makes it available. */
export class Memory implements Disposable {
  /** Allocations that have failed and have not been reported. */
  failures = 0;

  /** From now on large allocations fail. */
  exhaust(): void {
    const construct = (target: Allocator, args: [unknown, ...unknown[]], newTarget: Allocator) => {
      if (typeof args[0] !== "number" || args[0] < MIN_BYTES) return Reflect.construct(target, args, newTarget);
      this.failures++;
      throw new RangeError(OUT_OF_MEMORY);
    };
    for (const [name, Class] of Object.entries(classes)) {
      Object.assign(globalThis, { [name]: new Proxy(Class as Allocator, { construct }) });
    }
  }

  /** From now on they succeed. */
  repair(): void {
    Object.assign(globalThis, classes);
  }

  [Symbol.dispose](): void {
    this.repair();
  }
}
