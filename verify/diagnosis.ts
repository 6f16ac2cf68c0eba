/**
 * What was seen when a check failed, and what that points to. A client sees only its own end of the path, so this is
 * never more than a hint.
 *
 * @module
 */

import { errorMessage } from "../lib/errors.ts";
import { formatAddress } from "../lib/startup.ts";
import type { Name } from "./checks.ts";
import type { Outcome } from "./client.ts";

/** What was seen, and what it points to. */
export interface Diagnosis {
  /** What was seen. */
  seen: string;
  /** What that points to. */
  pointsTo: string;
}

/** What a failure to connect looks like, and what it points to. */
export function seenAtConnect(
  error: unknown,
  address: { hostname: string; port: number },
  timeout: number,
): Diagnosis {
  const { ConnectionRefused, NetworkUnreachable, NotCapable } = Deno.errors;
  const message = errorMessage(error);
  if (error instanceof ConnectionRefused) {
    return { seen: "connection refused", pointsTo: "nothing listens there, or a firewall rejects the connection" };
  }
  if (error instanceof Error && error.name === "TimeoutError") {
    const seen = `no connection for ${timeout} s`;
    return { seen, pointsTo: "a firewall that drops the packets, or a server that accepts no more connections" };
  }
  if (error instanceof NotCapable) {
    const { hostname, port } = address;
    const permission = `--allow-net=${formatAddress({ hostname, port })}`;
    return { seen: "the permission is missing", pointsTo: `run again with ${permission} before verify.ts` };
  }
  if (message.includes("lookup address")) {
    return { seen: "the name cannot be resolved", pointsTo: "a misspelt name, or a name server that does not know it" };
  }
  if (error instanceof NetworkUnreachable || message.includes("unreachable")) {
    return { seen: message, pointsTo: "a missing route from this machine to that address" };
  }
  return { seen: message, pointsTo: "this machine, rather than the path" };
}

/** What was seen of a message that did not come back. `timeout` is in seconds. */
export function describe(outcome: Outcome, timeout: number): string {
  const { end, size, sent, halfClosed, received, wrong } = outcome;
  const sofar = received === size && halfClosed ? "the last byte" : `${count(received)} of ${bytes(size)}`;
  const unsent = halfClosed ? "" : `, with ${count(sent)} sent`;
  switch (end) {
    case "wrong":
      if (wrong?.due === undefined) return `more than the ${bytes(size)} that were sent came back`;
      return `byte ${count(received + 1)} differs: sent ${hex(wrong.due)}, received ${hex(wrong.received)}`;
    case "timeout":
      return received === size && halfClosed
        ? `no EOF for ${timeout} s after the last byte`
        : `no byte for ${timeout} s after ${sofar}${unsent}`;
    case "error":
      return `${outcome.error} after ${sofar}${unsent}`;
    default:
      return `${end === "eof" ? "EOF" : "reset"} after ${sofar}${unsent}`;
  }
}

/** What that points to. */
export function pointsTo({ end, size, halfClosed, received, wrong }: Outcome, name: Name): string {
  if (end === "wrong") {
    if (received === 0 && wrong?.received === 0x50) {
      return "a header before the message, as of the PROXY protocol: switch it off on the relay (send-proxy, proxy_protocol)";
    }
    if (name === "concurrent") return "a server or relay that mixes up connections";
    if (wrong?.due === undefined) return "a server or relay that repeats bytes or adds some";
    return "a server or relay that loses, repeats or changes bytes";
  }
  if (!halfClosed && end !== "timeout") {
    if (name === "slow-sender") {
      return "a relay or server whose timeout for idle connections is below 3 s (nginx: proxy_timeout, HAProxy: timeout " +
        "client), and which then takes a part of a message for the whole";
    }
    return "a server that closes before it has read the message: a limit on its size, or no echo server";
  }
  if (end === "timeout") {
    if (!halfClosed) return "a server or relay that has stopped reading";
    if (received === size) return "a server or relay that keeps the connection open after its reply";
    if (received > 0) return "a server or relay that has stopped sending";
    return "a relay that does not forward the half-close, or a server that waits for something else, such as a new line";
  }
  if (received === size) return "a server, or a relay, that closes while it has not read all that it was sent";
  if (received === 0) {
    return "something on the path that closes both directions when one is half-closed. nginx: proxy_half_close on; " +
      "socat: -t 60; others may be unable to do otherwise, as systemd-socket-proxyd, redir or xinetd";
  }
  if (name === "slow-reader" || name === "write-first" || name === "sizes") {
    return "a relay that gives up some time after the half-close (socat: -t 60), or that drops what is not read yet";
  }
  return "a server or relay that loses the end of a message";
}

function bytes(size: number): string {
  return `${count(size)} bytes`;
}

function count(number: number): string {
  return number.toLocaleString("en-US");
}

function hex(byte: number): string {
  return `0x${byte.toString(16).padStart(2, "0")}`;
}
