/**
 * A worker with clients that send small pieces without pause and never half-close, until the server drops them. In the
 * thread of the other clients they would delay these.
 *
 * @module
 */

/// <reference lib="deno.worker" />

import { pattern, writeAll } from "../support/tcp_client.ts";

/** What the worker is told. */
export interface Streams {
  /** Where the clients connect to. */
  address: { hostname: string; port: number };
  /** Clients at a time: each that is dropped is replaced. */
  count: number;
  /** Milliseconds after which none is replaced any more. */
  ms: number;
}

/** An odd number of bytes, as every message of the soak that is not served to the end. */
const PIECE = pattern(999);

self.onmessage = async ({ data: { address, count, ms } }: MessageEvent<Streams>) => {
  const end = performance.now() + ms;
  let clients = 0;
  await Promise.all(Array.from({ length: count }, async () => {
    for (; performance.now() < end; clients++) {
      using conn = await Deno.connect(address);
      conn.setNoDelay();
      try {
        for (;;) await writeAll(conn, PIECE);
      } catch {
        // It is dropped.
      }
    }
  }));
  self.postMessage(clients);
};
