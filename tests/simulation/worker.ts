/**
 * Searches histories on a core of its own.
 *
 * @module
 */

/// <reference lib="deno.worker" />

import { type Found, search } from "./search.ts";
import type { Counts } from "./world.ts";

/** What a worker is asked to search. */
export interface Batch {
  seed: number;
  histories: number;
}

/** What came of it. */
export interface Outcome extends Batch {
  counts: Counts;
  found: Found | undefined;
}

self.onmessage = async ({ data }: MessageEvent<Batch>) => {
  const counts: Counts = new Map();
  const found = await search(data.seed, data.histories, counts);
  self.postMessage({ ...data, counts, found } satisfies Outcome);
};
