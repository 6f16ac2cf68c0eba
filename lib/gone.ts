/**
 * How a client that is gone shows in the errors of its connection.
 *
 * @module
 */

/** What the system says, on Linux, macOS or Windows, of a connection whose other end is gone or out of reach. */
const CODES = new Set((
  "ECONNABORTED ECONNRESET EHOSTDOWN EHOSTUNREACH ENETDOWN ENETRESET ENETUNREACH ENONET ENOPROTOOPT ENOTCONN " +
  "EOPNOTSUPP EPIPE EPROTO ESHUTDOWN ETIMEDOUT"
).split(" "));

const { BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut } = Deno.errors;

/** The same where Deno has a class for it; such an error need not have a code. */
const CLASSES = [BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut];

/**
 * Tells whether an error says that the client is gone: an error of its own, which is nobody else's.
 *
 * Besides the resets these are the network errors that accept(2) passes on from a connection that waits in the queue.
 *
 * @param error What `accept`, `read` or `write` rejected with.
 * @returns Whether the client is gone.
 */
export function isGone(error: unknown): boolean {
  return CLASSES.some((Gone) => error instanceof Gone) ||
    (error instanceof Error && "code" in error && typeof error.code === "string" && CODES.has(error.code));
}
