/**
 * The program on Windows, under Wine. What only Wine does is left out: it loses bytes of messages from 8 MB on, and no
 * program survives its Ctrl-Break.
 */

import { assert, assertEquals, assertGreater, assertLess, assertMatch, assertStringIncludes } from "@std/assert";
import { parseLines } from "../support/access_log_lines.ts";
import { output, run } from "../support/commands.ts";
import {
  equal,
  pattern,
  readToEof,
  ResettingClient,
  roundTrip,
  waitForClose,
  writeAll,
} from "../support/tcp_client.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { Tmpfs } from "../support/tmpfs.ts";
import { delay, settles } from "../support/wait.ts";
import { needing } from "./requirements.ts";
import { LOG, runToExit, ServerOnConsole, start } from "./windows_server.ts";
import { DENO, quote, SHARED, Wine } from "./wine.ts";

/** What is run as README's first command is, with a client of its own beside it. */
const FIRST_COMMAND = `${DENO} task start 2>/shared/stderr &
timeout 20 sh -c 'until grep -q listening /shared/stderr; do sleep 0.1; done' || cat /shared/stderr
${DENO} eval ${
  quote(`const c = await Deno.connect({ port: 4000 });
await c.write(new TextEncoder().encode("hello")); await c.closeWrite();
console.log(await new Response(c.readable).text())`)
}
cat /var/log/echo-server/access.log`;

Deno.test({
  ...needing(
    "the program on Windows, under Wine",
    ...["root", "mount namespaces", "network namespaces", "mmdebstrap", "npm", "nsenter", "socat"] as const,
  ),
  async fn(t) {
    const wine = await Wine.build();

    /** A step with a folder that is shared with Wine. */
    const step = (name: string, fn: (shared: string) => Promise<void>) =>
      t.step(name, async () => {
        using folder = new TemporaryFolder("echo-windows-");
        await fn(folder.path);
      });

    /** Runs tests. Returns how many have passed, if none has failed. */
    const test = async (shared: string, args: string = "") => {
      const command = `${DENO} test --no-prompt --cached-only --no-check ${args}`;
      const { stdout } = await run(wine.command(shared, command));
      const [, passed] = /^ok \| (\d+) passed /m.exec(stdout) ?? [];
      if (passed === undefined) throw new Error(stdout.replace(/^[^]* ERRORS /, ""));
      return Number(passed);
    };

    await step("passes the tests that need no permission", async (shared) => {
      assertGreater(await test(shared), 150);
    });

    await step("passes the unit tests of what the program takes from the system", async (shared) => {
      const files = "tests/unit/startup_test.ts tests/unit/access_log_test.ts tests/simulation/main_test.ts";
      assertGreater(await test(shared, `--allow-net --allow-read --allow-write ${files}`), 30);
    });

    await step("serves with README's first command", async (shared) => {
      const inNetwork = ["unshare", "--net", "sh", "-ec", 'ip link set lo up; exec "$@"', "sh"];
      const printed = await output(...inNetwork, ...wine.command(shared, FIRST_COMMAND));
      assertEquals(printed, "hello\n[client 1]: received 5 bytes\n");
    });

    await step("echoes 0 bytes to 3 MB, and logs each client before it closes the connection", async (shared) => {
      await using program = await start(wine, shared);
      const lengths = [0, 1, 65_536, 1_000_000, 3_000_000];
      for (const length of lengths) {
        const message = pattern(length);
        assert(equal(await roundTrip(program.address, message), message), `${length} bytes`);
        assertEquals(program.lines().at(-1)?.bytes, length);
      }
      const messages = Array.from({ length: 1000 }, (_, i) => pattern(100 + i, i));
      const replies = await Promise.all(messages.map((message) => roundTrip(program.address, message)));
      assert(messages.every((message, i) => equal(message, replies[i] ?? new Uint8Array())));
      assertEquals(program.lines().length, lengths.length + messages.length);
    });

    await step("drops the client that exceeds a limit, reports it, and serves the others", async (shared) => {
      await using program = await start(wine, shared, "--max-message=1000", "--idle-timeout=0.5", "--max-clients=2");
      assertEquals((await roundTrip(program.address, pattern(1000))).length, 1000);
      using large = await Deno.connect(program.address);
      await writeAll(large, pattern(1001));
      await waitForClose(large);
      await program.line(/client 2 \(127\.0\.0\.1:\d+\) dropped after 1001 bytes: message: the limit is 1000 bytes/);
      using idle = await Deno.connect(program.address);
      using idleToo = await Deno.connect(program.address);
      assertEquals((await roundTrip(program.address, pattern(3))).length, 3); // waits until one of these is dropped
      for (const conn of [idle, idleToo]) await waitForClose(conn);
      await program.line(/dropped after 0 bytes: idle: /, 2);
      assertEquals(program.lines(), [{ client: 1, bytes: 1000 }, { client: 5, bytes: 3 }]);
    });

    await step("serves at once after hundreds of clients that have reset before their accept", async (shared) => {
      await using program = await start(wine, shared, "--max-clients=1");
      using first = await Deno.connect(program.address);
      await writeAll(first, pattern(1));
      for (let i = 0; i < 300; i++) await (await ResettingClient.connect(program.address)).reset();
      const last = roundTrip(program.address, pattern(5));
      await first.closeWrite();
      assertEquals(await readToEof(first), pattern(1));
      const freed = performance.now();
      assertEquals(await settles(last, "the last client"), pattern(5));
      assertLess(performance.now() - freed, 10_000); // a wait of 0.1 s for each would take 30 s
      assertEquals(program.lines().map(({ bytes }) => bytes), [1, 5]);
      assertEquals(program.matches(/cannot accept/).length, 0);
    });

    await step("drains on Ctrl-C: a client in flight finishes, exit code 0", async (shared) => {
      await using server = await ServerOnConsole.start(wine, shared, "file");
      using conn = await Deno.connect(server.address);
      await writeAll(conn, pattern(3));
      await server.pressCtrlC();
      await server.prints("draining");
      await conn.closeWrite();
      assertEquals(await readToEof(conn), pattern(3));
      assertEquals(await server.exitCode(), 0);
    });

    await step("drops all clients on a second Ctrl-C, exit code 0", async (shared) => {
      await using server = await ServerOnConsole.start(wine, shared, "file", "--drain-timeout=3600");
      using conn = await Deno.connect(server.address);
      await server.pressCtrlC();
      await server.prints("draining");
      await delay(1200); // within a second it counts as the same one
      await server.pressCtrlC();
      await waitForClose(conn);
      assertEquals(await server.exitCode(), 0);
      await server.prints("drain: not finished at the repeated signal");
    });

    await step("serves and drains on Ctrl-C while its stderr is a full pipe that is not read", async (shared) => {
      await using server = await ServerOnConsole.start(wine, shared, "unread pipe", "--max-message=4");
      // Their reports are twice what a pipe holds.
      for (let i = 0; i < 1000; i++) {
        await settles(roundTrip(server.address, pattern(5)).catch(() => {}), `client ${i} to be dropped`);
      }
      assertEquals(await roundTrip(server.address, pattern(4)), pattern(4));
      await server.pressCtrlC();
      assertEquals(await server.exitCode(), 0);
    });

    await t.step("queues lines while the disk is full, and writes all of them in order", async () => {
      using disk = new Tmpfs("size=64k");
      await using program = await start(wine, disk.folder);
      await roundTrip(program.address, pattern(0));
      disk.fill();
      for (let i = 1; i <= 400; i++) assertEquals((await roundTrip(program.address, pattern(i))).length, i);
      await program.line(/error: cannot write to the access log, lines are queued/);
      assertLess(program.lines().length, 401);
      disk.free();
      await program.line(/the access log can be written to again, all queued lines are in it/);
      assertEquals(program.lines(), Array.from({ length: 401 }, (_, i) => ({ client: i + 1, bytes: i })));
    });

    await step("lets its access log be renamed: lines follow the file, a restart begins a new one", async (shared) => {
      {
        await using program = await start(wine, shared);
        await roundTrip(program.address, pattern(1));
        // In the same Wine, which knows that the file is open, and whether it may be renamed.
        await wine.beside(program.pid, `wine cmd /c ${quote(`ren ${LOG} access.log.1`)}`);
        await roundTrip(program.address, pattern(2));
      }
      await using program = await start(wine, shared);
      await roundTrip(program.address, pattern(3));
      const rotated = parseLines(Deno.readTextFileSync(`${program.accessLog}.1`));
      assertEquals(rotated, [{ client: 1, bytes: 1 }, { client: 2, bytes: 2 }]);
      assertEquals(program.lines(), [{ client: 1, bytes: 3 }]);
    });

    await step("says in one line, with no hint for Unix, that it cannot open the access log", async (shared) => {
      Deno.writeTextFileSync(`${shared}/file`, "");
      const folder = String.raw`Z:\echo-server`;
      for (
        const log of [folder, String.raw`Q:\a\a.log`, String.raw`\\host\share\a.log`, String.raw`${SHARED}\file\a.log`]
      ) {
        const { stdout, stderr } = await runToExit(wine, shared, log);
        assertEquals(stdout.trim(), "exit code 1", stderr);
        assertStringIncludes(stderr, ` error: cannot open the access log ${log}: `);
        assertMatch(stderr, /^[^\n]+\n$/);
        assert(!/sudo|link/.test(stderr), stderr);
      }
    });
  },
});
