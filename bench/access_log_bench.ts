import { getLogger } from "@logtape/logtape";
import { AccessLog } from "../lib/access_log.ts";
import { monotonic } from "../lib/clock.ts";

/** A file that takes everything at once: what is measured is the log, not the disk. */
const file = {
  writeSync: (bytes: Uint8Array) => bytes.length,
  seekSync: () => 0,
  truncateSync: () => {},
  close: () => {},
};
const silent = getLogger("bench"); // nobody has set it up

const log = new AccessLog({ open: () => file, diagnostics: silent, clock: monotonic });
let client = 0;

for (const lines of [1, 64]) {
  Deno.bench(`append() ${lines} ${lines === 1 ? "line" : "lines"} in a turn`, async () => {
    const written = Array.from({ length: lines }, () => log.append(++client, 64));
    await Promise.all(written);
  });
}
