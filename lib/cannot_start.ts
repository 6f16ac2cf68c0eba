/**
 * Why the server cannot start.
 *
 * @module
 */

import { messageOf } from "./diagnostics.ts";

/** Thrown when the server cannot start. The message is one line that names the thing and the way out. */
export class CannotStart extends Error {
  /** Tells it from other errors. */
  override readonly name = "CannotStart";
}

/**
 * Finds what to say of an error.
 *
 * @param cause What was thrown.
 * @param known What each class of error means here, and the way out.
 * @param wayOut The way out of any other.
 * @returns What it means and the way out.
 */
export function explain(cause: unknown, known: [new () => Error, string][], wayOut: string): string {
  const [, why] = known.find(([Class]) => cause instanceof Class) ?? [];
  return why ?? `${messageOf(cause)}; ${wayOut}`;
}

/**
 * Explains what to do about a permission that Deno has not been given.
 *
 * @param flag The flag that gives it.
 * @returns A part of a message.
 */
export function permissionMissing(flag: string): string {
  return `the permission is missing, run again with ${flag} before main.ts ("deno task start" cannot take it)`;
}
