/**
 * Runs traces in a thread of its own.
 *
 * @module
 */

/// <reference lib="deno.worker" />

import { runTrace, search } from "./search.ts";
import type { Counts } from "./simulator.ts";
import { Progress, type Reply, type Request } from "./watched_worker.ts";

const reply = (message: Reply) => self.postMessage(message);

async function replay(trace: Request["trace"] & object): Promise<string | undefined> {
  try {
    await runTrace(trace, new Map(), (line) => reply({ line }));
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : `${error}`;
  }
}

self.onmessage = async ({ data: { shared, seed, traces, shrinks, trace } }: MessageEvent<Request>) => {
  const progress = new Progress(shared);
  const counts: Counts = new Map();
  if (trace === undefined) {
    const failure = await search(seed, traces, counts, (trace) => progress.begin(trace), shrinks);
    reply({ counts, failure });
  } else {
    progress.begin(trace);
    const violation = await replay(trace);
    reply({ counts, failure: violation === undefined ? undefined : { trace, violation, after: 1 } });
  }
};
