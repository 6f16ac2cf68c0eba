/**
 * Why the server cannot start.
 *
 * @module
 */

/** Thrown when the server cannot start. The message is one line that names the thing and the way out. */
export class CannotStart extends Error {
  /** Tells it from other errors. */
  override readonly name = "CannotStart";
}
