/**
 * When the operations of the fakes complete.
 *
 * @module
 */

/** Given what completes an operation that can complete from now on. Calls it once: now, or when a simulation draws it. */
export type WhenReady = (complete: () => void) => void;

/** Completes every operation as soon as it can. */
export const atOnce: WhenReady = (complete) => complete();
