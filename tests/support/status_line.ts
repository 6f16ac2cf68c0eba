/**
 * The program's status line, which SIGUSR2 asks for.
 *
 * @module
 */

/** What the status line says. */
export interface StatusLine {
  /** Clients in flight. */
  active: number;
  /** Clients served to the end. */
  served: number;
  /** Bytes echoed to them. */
  bytes: number;
  /** Bytes of memory that messages hold. */
  buffered: number;
  /** Lines that wait for the disk. */
  queued: number;
  /** Clients dropped because they reset the connection. */
  reset: number;
  /** Clients dropped because no byte moved for too long. */
  idle: number;
  /** Clients dropped because their message was too large. */
  message: number;
  /** Clients dropped because all messages together were too large. */
  buffers: number;
  /** Clients dropped at the drain timeout. */
  drain: number;
  /** Clients dropped for any other reason. */
  failed: number;
  /** Clients that had disconnected before they were accepted. */
  goneBeforeAccept: number;
}

/** What every status line in text looks like. */
export const STATUS_LINE =
  /: up [\d.]+ s: (\d+) clients active, (\d+) served, (\d+) bytes echoed, (\d+) bytes buffered, (\d+) lines queued; dropped: (\d+) reset, (\d+) idle, (\d+) over the message limit, (\d+) over the buffer limit, (\d+) at the drain timeout, (\d+) failed; (\d+) gone before accept$/;

/**
 * Reads a status line.
 *
 * @param match What {@linkcode STATUS_LINE} matched.
 */
export function parseStatusLine(match: RegExpExecArray): StatusLine {
  const [active = 0, served = 0, bytes = 0, buffered = 0, queued = 0, ...dropped] = match.slice(1).map(Number);
  const [reset = 0, idle = 0, message = 0, buffers = 0, drain = 0, failed = 0, goneBeforeAccept = 0] = dropped;
  return { active, served, bytes, buffered, queued, reset, idle, message, buffers, drain, failed, goneBeforeAccept };
}
