/**
 * A server in a process that has used up nearly all of Deno's numbers for connections and files, and drains by itself
 * after so many clients more. Run with every permission on Linux: it changes its own memory.
 *
 * Usage: `deno run --allow-all tests/system/worn_out.ts MAX_ACCEPTS ACCESS_LOG`
 *
 * @module
 */

import { AccessLog } from "../../lib/access_log.ts";
import { monotonic } from "../../lib/clock.ts";
import { setUpDiagnostics } from "../../lib/diagnostics.ts";
import { listen } from "../../lib/listen.ts";
import { openLogFile } from "../../lib/log_file.ts";
import { DEFAULTS } from "../../lib/options.ts";
import { Server } from "../../lib/server.ts";

/** Numbers that are left when the server starts: more than are accepted while it drains. */
const LEFT = 6000;

/** Uses up so many numbers, as accepting so many clients does. */
function use(numbers: number): void {
  for (let i = 0; i < numbers; i++) Deno.openSync("/dev/null").close();
}

/** Where the heap of Deno's own data begins, and its words at this moment. */
function heap(): { start: number; words: Uint32Array } {
  const [, from = "", to = ""] = /^(\w+)-(\w+) rw-p .*\[heap\]$/m.exec(Deno.readTextFileSync("/proc/self/maps")) ?? [];
  const start = parseInt(from, 16);
  using file = Deno.openSync("/proc/self/mem");
  file.seekSync(start, Deno.SeekMode.Start);
  const bytes = new Uint8Array(parseInt(to, 16) - start);
  return { start, words: new Uint32Array(bytes.buffer, 0, (file.readSync(bytes) ?? 0) >> 2) };
}

/** Finds the word that holds the next number, and writes a later one there: so few are left. */
function wearOut(): void {
  const { start, words } = heap();
  let before = words;
  let found = Array.from(words, (_, i) => i);
  for (const used of [1009, 503, 2003]) {
    use(used);
    const { words } = heap();
    found = found.filter((i) => {
      const grown = (words[i] ?? 0) - (before[i] ?? NaN); // and a few that are used here
      return grown >= used && grown <= used + 5;
    });
    before = words;
  }
  // Deno counts the files that it opens, too. The numbers began with those of stdin, stdout and stderr, so they are ahead.
  const [next = 0] = found.toSorted((a, b) => (before[b] ?? 0) - (before[a] ?? 0));
  using file = Deno.openSync("/proc/self/mem", { read: true, write: true });
  file.seekSync(start + 4 * next, Deno.SeekMode.Start);
  file.writeSync(new Uint8Array(Uint32Array.of(2 ** 32 - LEFT).buffer));
}

const [maxAccepts, accessLog = ""] = Deno.args;
wearOut();
const { diagnostics } = setUpDiagnostics({
  level: "info",
  format: "text",
  colors: false,
  write: (line) => void Deno.stderr.writeSync(new TextEncoder().encode(line)),
});
const listener = listen("127.0.0.1", 0);
const log = new AccessLog({ open: () => openLogFile(accessLog), diagnostics, clock: monotonic });
const server = new Server({
  listener,
  log,
  diagnostics,
  clock: monotonic,
  limits: DEFAULTS,
  maxAccepts: Number(maxAccepts),
});
diagnostics.info("listening on 127.0.0.1:{port}", { port: listener.addr.port });
await server.serve();
log.close();
Deno.exitCode = server.wornOut ? 1 : 0;
