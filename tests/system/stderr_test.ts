import { assert, assertEquals, assertLess, assertMatch, assertRejects } from "@std/assert";
import { succeeds } from "../support/commands.ts";
import { canRun, ignoreIf } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { pattern, ResettingClient, roundTrip, waitForClose } from "../support/tcp_client.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { delay, until } from "../support/wait.ts";

const missing = canRun ? "" : "permissions are missing";

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
  ...ignoreIf(
    missing,
    "main.ts serves and takes signals while nobody reads its stderr, and tells afterwards how much was dropped",
  ),
  async fn() {
    await using stderr = new Unread();
    const program = await stderr.start("--log-format=json"); // longer reports, so fewer will do
    await dropMany(program, 2000);
    const { resident } = await program.statistics();
    await dropMany(program, 20_000); // many more than may wait
    assertLess(((await program.statistics()).resident - resident) / 1024 ** 2, 40);
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
  ...ignoreIf(missing, "main.ts ends a second after SIGTERM though nobody reads its stderr"),
  async fn() {
    await using stderr = new Unread();
    const program = await stderr.start();
    await dropMany(program, 2000); // a pipe holds a quarter of their reports
    const running = () => succeeds("kill", "-0", `${program.pid}`);
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
  ...ignoreIf(missing, "main.ts is killed by a third signal while it waits for a reader of its stderr"),
  async fn() {
    await using stderr = new Unread();
    const program = await stderr.start("--drain-timeout=1000");
    using stuck = await Deno.connect(program.address);
    await dropMany(program, 2000);
    program.kill("SIGTERM");
    await delay(1200);
    program.kill("SIGTERM");
    await waitForClose(stuck);
    program.kill("SIGTERM");
    const ended = program.exit();
    stderr.open();
    assertEquals(await ended, 128 + 15);
  },
});

Deno.test({
  ...ignoreIf(missing, "main.ts serves on and drains when nobody reads its stderr any more"),
  async fn() {
    await using program = await Program.start({ launcher: ["bash", "-c", 'exec "$0" "$@" 2> >(head -n 1 >&2)'] });
    // When head has left, stderr is at its end for the test and a closed pipe for the program.
    await assertRejects(() => program.line(/a second line/), Error, "ended without");
    for (const signal of ["SIGUSR2", "SIGUSR2", "SIGHUP"] as const) program.kill(signal);
    const resetting = await ResettingClient.connect(program.address);
    await resetting.write(pattern(3));
    await resetting.reset();
    assertEquals(await roundTrip(program.address, pattern(5)), pattern(5));
    await until(() => program.log() !== "");
    assertMatch(program.log(), /^\[client \d\]: received 5 bytes\n$/);
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 0);
  },
});

for (const redirect of ["2>/dev/full", "2>&-"]) {
  Deno.test({
    ...ignoreIf(missing, `main.ts serves and drains with ${redirect}`),
    async fn() {
      using temporary = new TemporaryFolder();
      const folder = temporary.path;
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
