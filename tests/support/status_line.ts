/**
 * The program's status line, which SIGUSR2 asks for.
 *
 * @module
 */

/** What a status line says, by the names that it has there. */
export interface StatusLine {
  /** Seconds since the server was started. */
  uptime: number;
  /** Clients in flight. */
  active: number;
  /** Clients served to the end. */
  served: number;
  /** Bytes echoed to them. */
  bytes: number;
  /** Bytes of memory that messages take. */
  buffered: number;
  /** Lines of the access log that are not written yet. */
  queued_lines: number;
  /** Clients dropped because they disconnected. */
  dropped_reset: number;
  /** Clients dropped because no byte was received or sent for too long. */
  dropped_idle: number;
  /** Clients dropped because their message was too large. */
  dropped_message: number;
  /** Clients dropped because all messages together were too large. */
  dropped_buffers: number;
  /** Clients dropped at the drain timeout or at a repeated signal. */
  dropped_drain: number;
  /** Clients dropped because of any other error. */
  dropped_failed: number;
  /** Clients that had disconnected before they were accepted. */
  dropped_before_accept: number;
}

/** What every status line in text looks like. Its group is the logfmt: pairs of `name=value`, separated by spaces. */
export const STATUS_LINE = / info: status (\w+=\S+(?: \w+=\S+)*)$/;

/**
 * Parses a status line.
 *
 * @param match What {@linkcode STATUS_LINE} matched.
 * @throws {Error} If a value is not a number, or a name is there twice.
 */
export function parseStatusLine(match: RegExpExecArray): StatusLine {
  const status: Record<string, number> = {};
  for (const pair of (match[1] ?? "").split(" ")) {
    const [, name = "", value] = /^([a-z_]+)=(\d+(?:\.\d+)?)$/.exec(pair) ?? [];
    if (value === undefined || name in status) throw new Error(`not a field of the status line: "${pair}"`);
    status[name] = Number(value);
  }
  return status as unknown as StatusLine;
}
