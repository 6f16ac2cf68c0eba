/**
 * The errors of the simulated operating system. Each is made once: to capture a stack takes longer than a step.
 *
 * @module
 */

function systemError(code: string): Error {
  return Object.assign(new Error(`${code} (os error)`), { code });
}

/** What a read or write fails with once the client cannot be reached. */
export const DISCONNECTS: [Error, ...Error[]] = [
  Object.assign(new Deno.errors.ConnectionReset("Connection reset by peer (os error 104)"), { code: "ECONNRESET" }),
  Object.assign(new Deno.errors.BrokenPipe("Broken pipe (os error 32)"), { code: "EPIPE" }),
  ...["ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "ECONNABORTED", "ENOTCONN"].map(systemError),
];

/** What a read or write fails with for other reasons: none of these may be reported as a disconnect. */
export const FAILURES: [Error, ...Error[]] = [new Error("unknown"), systemError("EIO"), systemError("ENOBUFS")];

/** What accept(2) fails with when descriptors or memory have run out. Deno gives ENFILE no code. */
export const EXHAUSTION: [Error, ...Error[]] = [
  systemError("EMFILE"),
  new Error("Too many open files in system (os error 23)"),
  systemError("ENOBUFS"),
  systemError("ENOMEM"),
];

/** What accept(2) fails with once the client has reset the connection in the backlog. */
export const NOT_CONNECTED: Error = systemError("ENOTCONN");

/**
 * What accept(2) fails with because of one connection. Two of the classes are those of a pending and of a new accept on a
 * closed listener.
 */
export const FAILED_ACCEPTS: [Error, ...Error[]] = [
  NOT_CONNECTED,
  ...["ECONNABORTED", "ECONNRESET", "EPROTO", "ETIMEDOUT", "ENETDOWN", "EHOSTUNREACH", "EPERM"].map(systemError),
  new Deno.errors.Interrupted("unknown"),
  new Deno.errors.BadResource("unknown"),
  new Error("unknown"),
];

/** What a write to a full disk fails with. */
export const DISK_FULL: Error = systemError("ENOSPC");

/** What a write to a failing disk fails with. */
export const DISK_FAILURE: Error = systemError("EIO");

/** What opening the log fails with. */
export const CANNOT_OPEN: Error = new Deno.errors.PermissionDenied("Permission denied (os error 13)");
