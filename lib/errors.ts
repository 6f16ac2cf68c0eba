/**
 * Classifies the errors of the system.
 *
 * @module
 */

/** The codes with which a read or write fails, on Linux, macOS or Windows, once the peer cannot be reached any more. */
const DISCONNECT_CODES = new Set(
  ["ECONNABORTED", "ECONNRESET", "EHOSTUNREACH", "ENETUNREACH", "ENOTCONN", "EPIPE", "ETIMEDOUT"],
);

/** The codes with which accept(2) fails when the process or the system is out of descriptors or memory. */
const EXHAUSTION_CODES = new Set(["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"]);

/** Whether a read or write failed because the client disconnected. */
export function isDisconnect(error: unknown): boolean {
  return DISCONNECT_CODES.has(codeOf(error));
}

/** Whether an accept failed because descriptors or memory ran out, so that the next one would fail as well. */
export function isExhaustion(error: unknown): boolean {
  return EXHAUSTION_CODES.has(codeOf(error));
}

/** What an error says, in one line. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "";
  if ("code" in error) return String(error.code);
  return error.message.endsWith("(os error 23)") ? "ENFILE" : ""; // Deno sets no code for this one
}
