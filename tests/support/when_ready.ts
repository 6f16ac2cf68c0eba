/**
 * What the fakes do when something can happen.
 *
 * @module
 */

/** Takes what can happen from now on, and has it happen once: at once, or when a simulation has drawn it. */
export type WhenReady = (happen: () => void) => void;

/** Has it happen at once. */
export const atOnce: WhenReady = (happen) => happen();
