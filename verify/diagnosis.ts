/**
 * What was seen when a check failed, and what that points to. A client sees only its own end of the path: what is beyond
 * it can be no more than a hint.
 *
 * @module
 */

import { errorMessage } from "../lib/errors.ts";
import { formatAddress } from "../lib/startup.ts";
import type { Name } from "./checks.ts";
import type { Outcome } from "./client.ts";

/** Of a failure. */
export interface Diagnosis {
  /** What was seen. */
  seen: string;
  /** What that points to. */
  pointsTo: string;
}

const CLOSES_UNREAD = "a server or relay that closes before it has read all that it was sent";

/**
 * Explains why a client could not connect.
 *
 * @param error What `Client.connect` threw.
 * @param address Where it should have connected.
 * @param timeout Its timeout in seconds.
 */
export function diagnoseConnect(
  error: unknown,
  address: { hostname: string; port: number },
  timeout: number,
): Diagnosis {
  const { ConnectionRefused, NotCapable } = Deno.errors;
  const message = errorMessage(error);
  if (error instanceof ConnectionRefused) {
    return { seen: "connection refused", pointsTo: "nothing listens there, or a firewall rejects the connection" };
  }
  if (error instanceof DOMException && error.name === "TimeoutError") {
    const pointsTo = "a firewall drops the packets, or the server does not accept connections any more";
    return { seen: `no answer for ${timeout} s`, pointsTo };
  }
  if (error instanceof NotCapable) {
    const permission = `--allow-net=${formatAddress(address)}`;
    return { seen: "the permission is missing", pointsTo: `run again with ${permission} before verify.ts` };
  }
  if (message.startsWith("failed to lookup address")) {
    return { seen: "the name cannot be resolved", pointsTo: "it is misspelt, or the name server does not know it" };
  }
  if (error instanceof Error && "code" in error && error.code === "EMFILE") {
    return { seen: message, pointsTo: "this machine's limit of open files (ulimit -n): raise it, or lower --clients" };
  }
  return { seen: message, pointsTo: "this machine or its network, since the server was not reached" };
}

/**
 * Explains why a message did not come back.
 *
 * @param outcome What became of it.
 * @param name The check that sent it.
 * @param timeout Its timeout in seconds.
 */
export function diagnose(outcome: Outcome, name: Name, timeout: number): Diagnosis {
  return { seen: describe(outcome, timeout), pointsTo: cause(outcome, name) };
}

/** Says what became of a message. The timeout is in seconds. */
export function describe({ end, size, sent, halfClosed, received, wrong, error }: Outcome, timeout: number): string {
  if (end === "wrong" && wrong?.expected === undefined) return `more than the ${count(size)} bytes that were sent`;
  if (end === "wrong") {
    return `byte ${count(received + 1)} differs: sent ${hex(wrong?.expected)}, received ${hex(wrong?.received)}`;
  }
  const isLast = received === size && halfClosed;
  const after = isLast ? "the last byte" : `${count(received)} of ${count(size)} bytes`;
  const unsent = halfClosed ? "" : `, with ${count(sent)} sent`;
  const what = {
    eof: "EOF",
    reset: "reset",
    timeout: `no ${isLast ? "EOF" : "byte"} for ${timeout} s`,
    error: errorMessage(error),
  };
  return `${what[end]} after ${after}${unsent}`;
}

function cause({ end, size, halfClosed, received, wrong }: Outcome, name: Name): string {
  if (end === "wrong") {
    // 'P' begins version 1 of the PROXY protocol's header, CR version 2.
    if (received === 0 && (wrong?.received === 0x50 || wrong?.received === 0x0d)) {
      return "a header before the message, as the PROXY protocol's, to be turned off (nginx: proxy_protocol, HAProxy: " +
        "send-proxy)";
    }
    if (name === "concurrent") return "a server or relay that mixes up connections";
    return "a server or relay that loses, repeats or changes bytes";
  }
  if (end === "timeout") {
    if (!halfClosed) return "a server or relay that has stopped reading, perhaps until its own bytes are read";
    if (received === size) {
      return "a server or relay that does not close, or a relay that does not forward the half-close";
    }
    if (received > 0) return "a server or relay that has stopped sending";
    return "a relay that does not forward the half-close, or a server that waits for something else, such as a newline";
  }
  if (!halfClosed && name === "slow-sender") {
    return "a timeout for idle connections below 3 s that ends the message before its end (the echo server: " +
      "--idle-timeout, nginx: proxy_timeout, HAProxy: timeout client)";
  }
  if (!halfClosed) return "a limit on the size of a message, or a server that does not read to EOF";
  if (received === size) return CLOSES_UNREAD;
  if (name === "concurrent" || name === "load") return "a server or relay that cannot serve so many clients at a time";
  if (received === 0) {
    return "something on the path that closes both directions when one is half-closed. Some can be told not to (nginx: " +
      "proxy_half_close on, socat: -t 60), some cannot (systemd-socket-proxyd, redir, xinetd)";
  }
  if (name === "slow-reader") {
    return "a relay that gives up some time after the half-close (socat: -t 60, nginx: proxy_timeout, HAProxy: timeout " +
      "client), or an echo server whose --idle-timeout is below 3 s";
  }
  if (name === "write-first" && end !== "reset") {
    return "a relay that gives up some time after the half-close (socat: -t 60, nginx: proxy_timeout)";
  }
  return end === "reset" ? CLOSES_UNREAD : "a server or relay that loses the end of a message";
}

function count(number: number): string {
  return number.toLocaleString("en-US");
}

function hex(byte: number = 0): string {
  return `0x${byte.toString(16).padStart(2, "0")}`;
}
