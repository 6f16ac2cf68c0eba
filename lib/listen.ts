/**
 * Opens the listener, or says why it cannot be opened.
 *
 * @module
 */

import { CannotStart } from "./cannot_start.ts";
import { messageOf } from "./diagnostics.ts";

/**
 * Clients that may wait to be accepted. Linux cuts it to `net.core.somaxconn`, 4096 by default (listen(2)); Deno's own
 * default of 511 drops the handshakes of a burst, and a dropped one is tried again a second later.
 */
export const BACKLOG = 4096;

/**
 * Listens for clients.
 *
 * @param hostname The address to listen on.
 * @param port The port, 0 for any that is free.
 * @returns The listener.
 * @throws {CannotStart} If it cannot listen there.
 */
export function listen(hostname: string, port: number): Deno.TcpListener {
  try {
    return Deno.listen({ hostname, port, tcpBacklog: BACKLOG });
  } catch (cause) {
    throw new CannotStart(`cannot listen on ${addressOf(hostname, port)}: ${explain(cause, hostname, port)}`, {
      cause,
    });
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

function explain(cause: unknown, hostname: string, port: number): string {
  if (cause instanceof Deno.errors.NotCapable) {
    return `the permission is missing, run again with --allow-net=${addressOf(hostname, port)}`;
  }
  if (cause instanceof Deno.errors.AddrInUse) {
    return `the port is taken; end what listens there ("ss -ltnp sport = :${port}" shows it) or choose another with --port`;
  }
  if (cause instanceof Deno.errors.AddrNotAvailable) {
    return "no interface of this machine has that address; choose another with --hostname";
  }
  if (cause instanceof Deno.errors.PermissionDenied) {
    return "the system does not let this user have that port; choose one from 1024 up with --port";
  }
  return `${messageOf(cause)}; choose another address with --hostname or --port`;
}
