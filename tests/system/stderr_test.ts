import { assert, assertEquals, assertLess, assertMatch, assertRejects } from "@std/assert";
import { Reports } from "../../lib/reports.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { canRun, Program, until } from "../support/program.ts";
import { ending, pattern, roundTrip, RudeClient } from "../support/tcp_client.ts";
import { nextTurn } from "../support/wait.ts";
import { unless } from "../support/permissions.ts";

const missing = canRun ? "" : "permissions are missing";

/** Reports to a reader that reads when it is told to. */
function setUp() {
  const clock = new FakeClock();
  let text = "";
  const unread: { bytes: Uint8Array; taken: PromiseWithResolvers<void> }[] = [];
  const write = (bytes: Uint8Array) => {
    const taken = Promise.withResolvers<void>();
    unread.push({ bytes, taken });
    return taken.promise;
  };
  const reports = new Reports({ write, clock, onDropped: (count) => reports.add(`${count} dropped\n`) });
  return {
    reports,
    clock,
    get text() {
      return text;
    },
    /** Reads one write. Returns how many bytes it had. */
    async read(): Promise<number> {
      const { bytes, taken } = unread.shift() ?? {};
      text += new TextDecoder().decode(bytes);
      taken?.resolve();
      await nextTurn();
      return bytes?.length ?? 0;
    },
    /** The write that waits fails. */
    async fail(): Promise<void> {
      unread.shift()?.taken.reject(new Deno.errors.BrokenPipe("nobody reads"));
      await nextTurn();
    },
  };
}

Deno.test("Reports.add() writes the first report at once, and those that come meanwhile together", async () => {
  const all = setUp();
  for (const report of ["a\n", "b\n", "c\n"]) all.reports.add(report);
  assertEquals(await all.read(), 2);
  assertEquals(await all.read(), 4);
  assertEquals([await all.read(), all.text], [0, "a\nb\nc\n"]);
});

Deno.test("Reports.add() drops what is beyond the bound, and says in its place how many when it is read again", async () => {
  const all = setUp();
  all.reports.maxQueued = 15;
  for (const report of ["first\n", "12345\n", "6789\n", "long\n", "x\n", "\n"]) all.reports.add(report);
  await all.read();
  all.reports.add("last\n");
  await all.read();
  await all.read();
  assertEquals(all.text, "first\n12345\n6789\n3 dropped\nlast\n");
});

Deno.test("Reports holds no more than the bound besides what is being written, however much is reported", async () => {
  const all = setUp();
  for (let i = 0; i < 100_000; i++) all.reports.add("x".repeat(99) + "\n");
  let bytes = 0;
  for (let read = -1; read !== 0;) bytes += read = await all.read();
  assert(bytes > 4_000_000 && bytes <= 4_194_304 + 200, `${bytes} bytes were held`);
  assertEquals(all.text.split("\n").at(-2), `${100_000 - (bytes - 14) / 100} dropped`);
});

Deno.test("Reports.add() loses what cannot be written, and nothing else", async () => {
  const all = setUp();
  all.reports.add("lost\n");
  await all.fail();
  all.reports.add("seen\n");
  await all.read();
  assertEquals(all.text, "seen\n");
});

Deno.test("Reports.flush() waits until all is read, however long that takes", async () => {
  const all = setUp();
  all.reports.add("a\n");
  all.reports.add("x".repeat(300_000) + "\n");
  let flushed = false;
  const flush = all.reports.flush().then(() => void (flushed = true));
  for (let pieces = 1; pieces < 6; pieces++) {
    all.clock.turn(999);
    await all.read();
    assert(!flushed, `after ${pieces} pieces`);
  }
  await all.read();
  await flush;
  assertEquals(all.clock.pending, 0);
  await all.reports.flush(); // there is nothing
});

Deno.test("Reports.flush() gives up when nobody has read for a second", async () => {
  const all = setUp();
  all.reports.add("a\n");
  all.reports.add("b\n");
  let flushed = false;
  const flush = all.reports.flush().then(() => void (flushed = true));
  all.clock.turn(500);
  await all.read();
  all.clock.turn(999);
  await nextTurn();
  assert(!flushed);
  all.clock.turn(1001);
  await flush;
  assertEquals(all.clock.pending, 0);
});

/** Has a client dropped, so many times; each is reported. */
async function dropMany(program: Program, times: number): Promise<void> {
  await Promise.all(Array.from({ length: 25 }, async () => {
    for (let i = 0; i < times / 25; i++) await roundTrip(program.address, pattern(1)).catch(() => {});
  }));
}

/** The program, and one who reads the first line of its stderr, and the rest once the gate is open. */
class Unread implements AsyncDisposable {
  readonly #gate = Deno.makeTempFileSync();
  #program: Program | undefined;

  async start(...flags: string[]): Promise<Program> {
    const reader = `read -r line; echo "$line"; while [ -e ${this.#gate} ]; do sleep 0.05; done; cat`;
    const launcher = ["bash", "-c", `exec "$0" "$@" 2> >({ ${reader}; } >&2)`];
    // With a small heap, garbage is not taken for what is held.
    const env = { DENO_V8_FLAGS: "--max-heap-size=48" };
    return this.#program = await Program.start({ launcher, env, flags: ["--max-message=0", ...flags] });
  }

  open(): void {
    Deno.removeSync(this.#gate);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#gate).catch(() => {});
    await this.#program?.[Symbol.asyncDispose]();
  }
}

Deno.test({
  ...unless(
    missing,
    "main.ts serves and takes signals while nobody reads its stderr, and tells afterwards how much was dropped",
  ),
  async fn() {
    await using stderr = new Unread();
    const program = await stderr.start("--log-format=json"); // longer reports, so fewer will do
    await dropMany(program, 2000);
    const { resident } = await program.figures();
    await dropMany(program, 20_000); // many more than may wait
    assertLess(((await program.figures()).resident - resident) / 1024 ** 2, 40);
    for (const signal of ["SIGUSR2", "SIGHUP"] as const) program.kill(signal);
    assertEquals((await roundTrip(program.address, new Uint8Array())).length, 0);
    assertMatch(program.log(), /^\[client 22001\]: received 0 bytes\n$/);
    assertEquals(program.stderr.length, 1);

    stderr.open();
    const [, dropped] = await program.line(/"message":"(\d+) reports were dropped, since nobody read stderr"/);
    assert(Number(dropped) > 0);
    // Two more, of the signals, were among those dropped.
    assertEquals(program.matches(/ dropped after /).length + Number(dropped), 22_000 + 2);
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 0);
  },
});

Deno.test({
  ...unless(missing, "main.ts ends a second after SIGTERM though nobody reads its stderr"),
  async fn() {
    await using stderr = new Unread();
    const program = await stderr.start();
    await dropMany(program, 2000); // a pipe holds a quarter of their reports
    const running = () =>
      new Deno.Command("kill", { args: ["-0", `${program.pid}`], stderr: "null" }).outputSync().success;
    const start = performance.now();
    program.kill("SIGTERM");
    await until(() => !running());
    const took = (performance.now() - start) / 1000;
    assert(took > 0.9 && took < 4, `it took ${took} s`);
    stderr.open();
    assertEquals(await program.exit(), 0);
  },
});

Deno.test({
  ...unless(missing, "main.ts is killed by a third signal while it waits for a reader of its stderr"),
  async fn() {
    await using stderr = new Unread();
    const program = await stderr.start("--drain-timeout=1000");
    using stuck = await Deno.connect(program.address);
    await dropMany(program, 2000);
    program.kill("SIGTERM");
    const stopped = performance.now();
    await until(() => performance.now() - stopped > 1200);
    program.kill("SIGTERM");
    await ending(stuck);
    program.kill("SIGTERM");
    const ended = program.exit();
    stderr.open();
    assertEquals(await ended, 128 + 15);
  },
});

Deno.test({
  ...unless(missing, "main.ts serves on and drains when nobody reads its stderr any more"),
  async fn() {
    await using program = await Program.start({ launcher: ["bash", "-c", 'exec "$0" "$@" 2> >(head -n 1 >&2)'] });
    // When head has left, stderr is at its end for the test and a closed pipe for the program.
    await assertRejects(() => program.line(/a second line/), Error, "ended without");
    for (const signal of ["SIGUSR2", "SIGUSR2", "SIGHUP"] as const) program.kill(signal);
    const rude = await RudeClient.connect(program.address);
    await rude.write(pattern(3));
    await rude.reset();
    assertEquals(await roundTrip(program.address, pattern(5)), pattern(5));
    await until(() => program.log() !== "");
    assertMatch(program.log(), /^\[client \d\]: received 5 bytes\n$/);
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 0);
  },
});

for (const redirect of ["2>/dev/full", "2>&-"]) {
  Deno.test({
    ...unless(missing, `main.ts serves and drains with ${redirect}`),
    async fn() {
      const folder = Deno.makeTempDirSync();
      using _ = { [Symbol.dispose]: () => Deno.removeSync(folder, { recursive: true }) };
      using free = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const { addr } = free;
      free.close();
      const deno =
        `"${Deno.execPath()}" run --no-prompt --allow-net=127.0.0.1:${addr.port} --allow-write=${folder} main.ts`;
      const flags = `--hostname=127.0.0.1 --port=${addr.port} --access-log=${folder}/access.log`;
      const child = new Deno.Command("sh", { args: ["-c", `exec ${deno} ${flags} ${redirect}`], stdout: "null" })
        .spawn();
      try {
        await until(() => roundTrip(addr, new Uint8Array()).then(() => true, () => false));
        for (const signal of ["SIGUSR2", "SIGHUP"] as const) child.kill(signal);
        assertEquals(await roundTrip(addr, pattern(5)), pattern(5));
        child.kill("SIGTERM");
        assertEquals((await child.status).code, 0);
      } catch (error) {
        child.kill("SIGKILL");
        throw error;
      }
    },
  });
}
