/**
 * The addresses that a name has.
 *
 * @module
 */

import { connect, isIP } from "node:net";
import { formatAddress } from "../lib/startup.ts";

/** What can be verified of a name, and what cannot. */
export interface Addresses {
  /** The hostnames to connect to: IP addresses, or the name itself. */
  hostnames: string[];
  /** Those of its addresses that the permissions keep out. */
  denied: string[];
}

/** Whether a connection is allowed. Never prompts. What Deno does not accept as a host is not allowed. */
export async function isAllowed(hostname: string, port: number): Promise<boolean> {
  const host = formatAddress({ hostname, port });
  const { state } = await Deno.permissions.query({ name: "net", host }).catch(() => ({ state: "denied" }));
  return state === "granted";
}

/**
 * Resolves a name to all its addresses. With a permission for the name alone Deno connects to the name but to none of
 * its addresses: if it has several and one is not allowed, the name itself is verified, at the address that the system
 * prefers.
 */
export async function resolve(hostname: string, port: number): Promise<Addresses> {
  const itself = { hostnames: [hostname], denied: [] };
  if (isIP(hostname) !== 0 || !await isAllowed(hostname, port)) return itself;
  const all = await lookUp(hostname, port);
  if (all.length < 2) return itself;
  const allowed = await Promise.all(all.map((address) => isAllowed(address, port)));
  const denied = all.filter((_, i) => !allowed[i]);
  return { hostnames: denied.length === 0 ? all : [hostname], denied };
}

/**
 * The addresses of a name, none if it has none. `node:dns` and `Deno.resolveDns` would need a permission for every port of
 * the name or for the DNS server; a socket that connects needs only the one for this port, and tells what it has found
 * before it connects.
 */
function lookUp(hostname: string, port: number): Promise<string[]> {
  return new Promise((resolve) => {
    const found = new Set<string>();
    const socket = connect({ host: hostname, port });
    socket.on("lookup", (error, address) => {
      if (!error) found.add(address);
      queueMicrotask(() => socket.destroy()); // the events of all addresses come first
    });
    socket.on("error", () => {}); // what fails here also fails when the name is verified, and is reported there
    socket.once("close", () => resolve([...found]));
  });
}
