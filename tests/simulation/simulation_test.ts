import { assertEquals, assertStringIncludes } from "@std/assert";
import { hasPermissions, ignoreIf } from "../support/permissions.ts";
import { REGRESSIONS } from "./regressions.ts";
import { formatTrace, parseTrace } from "./trace.ts";
import { describe, WatchedWorker } from "./watched_worker.ts";

// Deno starts a worker only if it may read the worker's module.
const missing = hasPermissions({ name: "read" }) ? "" : "permissions are missing";

const [seed = 0] = crypto.getRandomValues(new Uint16Array(1));

Deno.test(ignoreIf(missing, `the server violates no invariant in 2,000 traces (--seed=${seed})`), async () => {
  using worker = new WatchedWorker();
  const { failure } = await worker.search(seed, 2000);
  if (failure !== undefined) throw new Error(`${failure.violation}\n${await describe(failure.trace)}`);
});

for (const [mutation, text] of REGRESSIONS) {
  Deno.test(ignoreIf(missing, `the server violates no invariant in the trace for ${mutation}`), async () => {
    const trace = parseTrace(text);
    assertEquals(trace && formatTrace(trace), text);
    if (trace !== undefined) assertStringIncludes(await describe(trace), "no invariant is violated");
  });
}

Deno.test(ignoreIf(missing, "a trace runs the same way each time"), async () => {
  const trace = { setup: 5, faults: 0xffff_ffff, steps: Array.from({ length: 120 }, (_, i) => i * 35_791_394) };
  const description = await describe(trace);
  assertStringIncludes(description, "is accepted");
  assertEquals(await describe(trace), description);
});

Deno.test(ignoreIf(missing, "WatchedWorker ends a trace that loops for ever, and says which"), async () => {
  const trace = { setup: 1, faults: 2, steps: [3, 4] };
  const module = `
    import { Progress } from ${JSON.stringify(import.meta.resolve("./watched_worker.ts"))};
    self.onmessage = ({ data: { shared, trace } }) => {
      const progress = new Progress(shared);
      for (let i = 0; i < 3; i++) progress.begin(trace);
      for (;;);
    };`;
  using worker = new WatchedWorker(100, `data:text/typescript,${encodeURIComponent(module)}`);
  const { failure } = await worker.replay(trace, () => {});
  assertEquals(failure, { trace, violation: "the trace does not end within 0.1 s", after: 3 });
});
