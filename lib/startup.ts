/**
 * Opens the listener and the access log's file, or explains in one line why not and what to do.
 *
 * @module
 */

import { errorMessage } from "./errors.ts";

/**
 * Connections that may be pending before accept. Linux caps it at `net.core.somaxconn`, 4096 by default (listen(2)). With
 * Deno's own default of 511 the SYNs of a larger burst are dropped, and sent again only a second later.
 */
export const BACKLOG = 4096;

/** Where the lines of the access log go. */
export interface LogFile {
  /** Writes some of the bytes. Returns how many, or, if the write may block, a promise of it. */
  write(bytes: Uint8Array): number | Promise<number>;
  /** Cuts off bytes at the end, if the file can be truncated. Returns whether that was possible. */
  cutOff?(bytes: number): boolean;
  /** Closes the file. */
  close(): void;
}

/** Thrown when the server cannot start. The message is one line that names what failed and gives a hint. */
export class StartupError extends Error {}

/**
 * Listens for clients.
 *
 * @param hostname The address to listen on.
 * @param port The port, 0 for any free one.
 * @param reusePort Whether other servers may listen on the same port (`SO_REUSEPORT`). Deno ignores it except on Linux.
 * @throws {StartupError} If that fails.
 */
export function openListener(hostname: string, port: number, reusePort: boolean): Deno.TcpListener {
  try {
    return Deno.listen({ hostname, port, reusePort, tcpBacklog: BACKLOG });
  } catch (cause) {
    const address = formatAddress({ hostname, port });
    const privileged = "this user may not use the port; choose one above 1023 with --port";
    throw startupError(`cannot listen on ${address}`, cause, `--allow-net=${address}`, privileged);
  }
}

/** Bytes of a write to standard output that failed, but of which Deno keeps the rest and writes it before the next. */
let held = 0;

/** Standard output as the access log. It needs no permission. */
const STDOUT: LogFile = {
  async write(bytes) {
    // Whole lines, and no more than Deno can keep. A pipe takes such a write whole or, while it is full, not at all (pipe(7)).
    const size = held || bytes.lastIndexOf(0x0A, 1023) + 1;
    try {
      await Deno.stdout.write(bytes.subarray(0, held > 0 ? 0 : size));
      held = 0;
      return size;
    } catch (error) { // for instance a full disk, to which standard output was redirected
      await Deno.stdout.write(bytes.subarray(0, 0)).catch(() => held = size); // fails while something is kept
      throw error;
    }
  },
  close: () => {},
};

/**
 * Opens a file to append to. A missing file is created, and so is a missing folder.
 *
 * @param path Where the file is, or `-` for standard output.
 * @throws {StartupError} If that fails.
 */
export function openLogFile(path: string): LogFile {
  if (path === "-") return STDOUT;
  const open = () => {
    const file = Deno.openSync(path, { append: true, create: true });
    try {
      file.seekSync(0, Deno.SeekMode.Current); // fails for a pipe, which would block all clients when it is full
      file.writeSync(new Uint8Array()); // fails for a folder, which Windows opens
      return file;
    } catch (cause) {
      file.close();
      throw new Error("it is not a regular file; choose another with --access-log, or - for stdout", { cause });
    }
  };
  const slash = Math.max(path.lastIndexOf("/"), Deno.build.os === "windows" ? path.lastIndexOf("\\") : -1);
  const folder = slash < 0 ? "." : path.slice(0, slash) || "/";
  let file: Deno.FsFile;
  try {
    try {
      file = open();
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      Deno.mkdirSync(folder, { recursive: true });
      file = open();
    }
  } catch (cause) {
    const sudo = Deno.build.os === "windows" ? "" : `, or run: sudo install -d -o "$(id -un)" ${folder}`;
    const denied = `this user may not write there; choose your own file with --access-log, or try deno task dev${sudo}`;
    throw startupError(`cannot open the access log ${path}`, cause, `--allow-write=${folder}`, denied);
  }
  return {
    write: (bytes) => file.writeSync(bytes),
    cutOff: (bytes) => {
      try {
        file.truncateSync(file.seekSync(0, Deno.SeekMode.End) - bytes);
        return true;
      } catch {
        return false;
      }
    },
    close: () => file.close(),
  };
}

/** Formats an address as in flags and URLs: `hostname:port`, an IPv6 address in brackets. */
export function formatAddress({ hostname, port }: { hostname: string; port: number }): string {
  const host = hostname.replace(/^::ffff:(?=[\d.]+$)/, ""); // an IPv4 client of a listener on ::
  return host.includes(":") && !host.startsWith("[") ? `[${host}]:${port}` : `${host}:${port}`;
}

function startupError(what: string, cause: unknown, permission: string, denied: string): StartupError {
  const { NotCapable, AddrInUse, AddrNotAvailable, PermissionDenied } = Deno.errors;
  const message = errorMessage(cause);
  const quoted = /[^\w.:=\\/-]/.test(permission) ? `'${permission}'` : permission; // a shell would expand [::]
  const missing = message.includes("--allow-all")
    ? "Deno lets only a script with all permissions write to a device; for stdout use --access-log=-"
    : `the permission is missing; run again with ${quoted} before main.ts`;
  const find = Deno.build.os === "windows" ? "netstat -ano" : "ss -ltnp";
  const hints: [new () => Error, string][] = [
    [NotCapable, missing],
    [AddrInUse, `the port is taken; choose another with --port, or find the process with: ${find}`],
    [AddrNotAvailable, "no interface of this machine has that address; choose another with --hostname"],
    [PermissionDenied, denied],
  ];
  const [, hint] = hints.find(([Class]) => cause instanceof Class) ?? [];
  return new StartupError(`${what}: ${hint ?? message}`, { cause });
}
