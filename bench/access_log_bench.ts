import { getLogger } from "@logtape/logtape";
import { AccessLog } from "../lib/access_log.ts";
import { monotonic } from "../lib/clock.ts";

/** A file whose writes cost nothing: the log is measured, not the disk. */
const file = {
  write: (bytes: Uint8Array) => bytes.length,
  close: () => {},
};
const silent = getLogger("bench"); // writes nothing until it is configured

const log = new AccessLog(() => file, silent, monotonic);
let client = 0;

for (const lines of [1, 64]) {
  Deno.bench(`append() ${lines} ${lines === 1 ? "line" : "lines"} in a batch`, async () => {
    const written = Array.from({ length: lines }, () => log.append(++client, 64));
    await Promise.all(written);
  });
}
