/**
 * Opens the listener, or says why it cannot be opened.
 *
 * @module
 */

import { CannotStart, explain, permissionMissing } from "./cannot_start.ts";

/**
 * Clients that may wait to be accepted. Linux cuts it to `net.core.somaxconn`, 4096 by default (listen(2)); Deno's own
 * default of 511 drops the handshakes of a burst, and a dropped one is tried again a second later.
 */
export const BACKLOG = 4096;

/** How it is listened. */
export interface ListenOptions {
  /** Whether other servers that say the same may listen there too (`SO_REUSEPORT`). Default: `false`. */
  reusePort?: boolean;
  /** The system that this is. Default: the one that Deno was built for. */
  os?: typeof Deno.build.os;
}

/**
 * Listens for clients.
 *
 * @param hostname The address to listen on.
 * @param port The port, 0 for any that is free.
 * @param options How it is listened.
 * @returns The listener.
 * @throws {CannotStart} If it cannot listen there, or the port cannot be shared on this system.
 */
export function listen(hostname: string, port: number, options: ListenOptions = {}): Deno.TcpListener {
  const { reusePort = false, os = Deno.build.os } = options;
  // Elsewhere Deno passes over the option without a word, and the second server would find the port taken.
  if (reusePort && os !== "linux") {
    throw new CannotStart(
      `cannot share port ${port}: only Linux spreads clients over servers on one port, and this is ${os}; run one server without --reuse-port`,
    );
  }
  try {
    return Deno.listen({ hostname, port, reusePort, tcpBacklog: BACKLOG });
  } catch (cause) {
    const { AddrInUse, AddrNotAvailable, NotCapable, PermissionDenied } = Deno.errors;
    const by = reusePort ? " by a server without --reuse-port, or of another user" : "";
    const shown = os === "linux" ? ` ("ss -ltnp sport = :${port}" shows it)` : "";
    const why = explain(cause, [
      [NotCapable, permissionMissing(`--allow-net=${addressOf(hostname, port)}`)],
      [AddrInUse, `the port is taken${by}; end what listens there${shown} or choose another with --port`],
      [AddrNotAvailable, "no interface of this machine has that address; choose another with --hostname"],
      [PermissionDenied, "the system does not let this user have that port; choose one from 1024 up with --port"],
    ], "choose another address with --hostname or --port");
    throw new CannotStart(`cannot listen on ${addressOf(hostname, port)}: ${why}`, { cause });
  }
}

/**
 * Writes an address as it is written in a flag or a URL.
 *
 * @param hostname A name or an IP address.
 * @param port The port.
 * @returns `hostname:port`, an IPv6 address in brackets.
 */
export function addressOf(hostname: string, port: number): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}
