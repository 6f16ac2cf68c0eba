/**
 * The three programs of `docs/sockets.md`: what breaks `examples/minimal.ts` does not break `examples/robust.ts`, and what
 * breaks that one does not break `main.ts`.
 */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { ROOT, run, succeeds } from "../support/commands.ts";
import { canRun, ignoreIf } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { equal, pattern, readToEof, ResettingClient, roundTrip, writeAll } from "../support/tcp_client.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { canMount, Tmpfs } from "../support/tmpfs.ts";
import { delay, until } from "../support/wait.ts";

const missing = canRun ? "" : "permissions are missing";
const HELLO = new TextEncoder().encode("hello");

/** How one of them is started. */
interface Options {
  /** A part of its source, and what stands there instead. */
  change?: [part: string, instead: string];
  /** What sh runs before it. */
  setUp?: string;
  /** The folder of its log. Default: a temporary one. */
  folder?: string;
  /** Flags of `main.ts`. */
  flags?: string[];
}

/** Starts one of the three programs, calls back, and ends it. */
async function withProgram(
  name: "minimal" | "robust" | "main",
  options: Options,
  callback: (program: Program) => Promise<void>,
): Promise<void> {
  using temporary = new TemporaryFolder();
  const { change: [part, instead] = ["", ""], setUp = ":", folder = temporary.path, flags = [] } = options;
  const accessLog = `${folder}/access.log`;
  Deno.writeTextFileSync(accessLog, "");
  if (name === "main") {
    await using program = await Program.start({ accessLog, flags });
    return await callback(program);
  }
  const source = Deno.readTextFileSync(`${ROOT}examples/${name}.ts`);
  if (part !== "") assertEquals(source.split(part).length, 2, `${name}.ts has this once: ${part}`);
  const script = `${temporary.path}/${name}.ts`;
  Deno.writeTextFileSync(script, source.replace(part, instead));
  const deno = [Deno.execPath(), "run", "--no-prompt", "--allow-net=0.0.0.0:0", `--allow-write=${accessLog}`];
  await using program = await Program.start({
    hostname: "0.0.0.0",
    accessLog,
    // Program.start() looks for the line "listening on" on stderr.
    command: ["sh", "-c", `${setUp} && exec "$@" >&2`, "sh", ...deno, script, "0", accessLog],
    env: { NO_COLOR: "1" },
  });
  await callback(program);
}

/** Whether it echoes to a new client. */
async function serves(program: Program): Promise<boolean> {
  try {
    return equal(await roundTrip(program.address, HELLO), HELLO);
  } catch {
    return false;
  }
}

/** $1: the folder of the examples. $2: Deno. $3: the command. Its own network has port 4000 free. */
const AS_DOCUMENTED = `
ip link set lo up
ln -s "$1" examples
ln -s "$2" deno
PATH="$PWD:$PATH"
$3 >stdout &
until grep -q listening stdout; do sleep 0.05; done
printf hello | nc.openbsd -N 127.0.0.1 4000
until grep client access.log; do sleep 0.05; done
kill $!
`;

const ISOLATE = ["timeout", "20", "unshare", "--map-root-user", "--net", "sh", "-ec"];
const notIsolated = missing ||
  (succeeds(...ISOLATE, "ip link set lo up; which nc.openbsd") ? "" : "needs namespaces, ip, nc.openbsd");

for (const name of ["minimal", "robust"] as const) {
  Deno.test(ignoreIf(notIsolated, `${name}.ts serves by the command in its header`), async () => {
    using folder = new TemporaryFolder();
    const source = Deno.readTextFileSync(`${ROOT}examples/${name}.ts`);
    const [, command = ""] = /^[/ *]+(deno run .*)$/m.exec(source) ?? [];
    const args = ["sh", `${ROOT}examples`, Deno.execPath(), command];
    const { stdout } = await run([...ISOLATE, AS_DOCUMENTED, ...args], { cwd: folder.path });
    assertEquals(stdout, "hello[client 1]: received 5 bytes\n");
  });

  test(`${name}.ts echoes messages of 0 bytes to 20 MB and appends a line for each`, async () => {
    await withProgram(name, {}, async (program) => {
      const sizes = [0, 1, 16_384, 16_385, 20_000_000];
      for (const size of sizes) {
        const message = pattern(size, size);
        assert(equal(await roundTrip(program.address, message), message));
        await until(() => program.log().endsWith(`received ${size} bytes\n`)); // minimal.ts closes first
      }
      assertEquals(program.lines(), sizes.map((bytes, i) => ({ client: i + 1, bytes })));
    });
  });

  test(`${name}.ts serves a client beside one that is silent`, async () => {
    await withProgram(name, {}, async (program) => {
      using _ = await Deno.connect(program.address);
      assert(await serves(program));
    });
  });
}

test("minimal.ts with `await serve(…)` lets the second client wait for the first, which is silent", async () => {
  await withProgram(
    "minimal",
    { change: ["serve(conn, ++accepted);", "await serve(conn, ++accepted);"] },
    async (program) => {
      using silent = await Deno.connect(program.address);
      const second = roundTrip(program.address, HELLO);
      assertEquals(await Promise.race([second, delay(500)]), undefined);
      await silent.closeWrite();
      assertEquals(await second, HELLO);
    },
  );
});

test("minimal.ts with a single write for the whole message truncates a large reply", async () => {
  const loops = `for (const chunk of chunks) {
    for (let sent = 0; sent < chunk.length;) sent += await conn.write(chunk.subarray(sent)); // send, until all is sent
  }`;
  await withProgram("minimal", { change: [loops, "await conn.write(Buffer.concat(chunks));"] }, async (program) => {
    using client = await Deno.connect(program.address);
    await writeAll(client, pattern(20_000_000));
    await client.closeWrite();
    await until(() => program.log() === "[client 1]: received 20000000 bytes\n"); // the server has closed
    const { length } = await readToEof(client);
    assert(length > 0 && length < 20_000_000, `${length} bytes`);
  });
});

test("minimal.ts is ended by a client that resets before its accept, robust.ts is not", async () => {
  const trial = async (program: Program) => {
    await program.whileStopped(async () => await (await ResettingClient.connect(program.address)).reset());
    return await serves(program);
  };
  await withProgram("minimal", {}, async (program) => {
    assert(!await trial(program));
    assertEquals(await program.exit(), 1);
    assertStringIncludes(program.stderr.join("\n"), "NotConnected");
  });
  await withProgram("robust", {}, async (program) => assert(await trial(program)));
});

test("minimal.ts is ended by a client that resets while it is served, robust.ts is not", async () => {
  const trial = async (program: Program) => {
    const client = await ResettingClient.connect(program.address);
    await client.write(HELLO);
    assert(await serves(program)); // so the first one has been accepted as well
    await client.reset();
    await until(() => program.stderr.some((line) => /^error: Uncaught|^client 1 dropped: ConnectionReset/.test(line)));
    return await serves(program);
  };
  await withProgram("minimal", {}, async (program) => {
    assert(!await trial(program));
    assertEquals(await program.exit(), 1);
  });
  await withProgram("robust", {}, async (program) => {
    assert(await trial(program));
    assertEquals(program.lines().map(({ client }) => client), [2, 3]);
  });
});

test("minimal.ts is ended when descriptors run out, robust.ts is not", async () => {
  const trial = async (program: Program) => {
    const clients = await program.whileStopped(() =>
      Promise.all(Array.from({ length: 64 }, () => Deno.connect(program.address)))
    );
    await until(() => program.stderr.some((line) => /^error: Uncaught|^Deno has panicked|^accept failed/.test(line)));
    for (const client of clients) client.close();
    return await serves(program);
  };
  await withProgram("minimal", { setUp: "ulimit -n 64" }, async (program) => {
    assert(!await trial(program));
    assert(await program.exit() !== 0);
  });
  await withProgram("robust", { setUp: "ulimit -n 64" }, async (program) => assert(await trial(program)));
});

test("minimal.ts lets clients see EOF before their line is in the log, robust.ts does not", async () => {
  /** Whether a client, told by the length of its message, finds its line when it sees EOF. */
  const finds = async (program: Program, bytes: number) => {
    await roundTrip(program.address, pattern(bytes));
    return program.log().includes(`received ${bytes} bytes\n`);
  };
  await withProgram("minimal", {}, async (program) => {
    let bytes = 0;
    await until(async () => !await finds(program, ++bytes)); // of 300 clients, 8 to 246 did not find it
  });
  await withProgram("robust", {}, async (program) => {
    for (let bytes = 1; bytes <= 300; bytes++) assert(await finds(program, bytes), `${bytes}`);
  });
});

test("the examples answer a client in flight nothing when they are stopped by SIGTERM, main.ts serves it", async () => {
  const trial = async (program: Program) => {
    using client = await Deno.connect(program.address);
    await client.write(HELLO);
    assert(await serves(program)); // so the first one has been accepted as well
    program.kill("SIGTERM");
    if (program.stderr.some((line) => line.includes("info:"))) await program.line(/draining/);
    else await program.exit();
    try {
      await client.closeWrite();
      return await readToEof(client);
    } catch (error) {
      return error;
    }
  };
  for (const name of ["minimal", "robust"] as const) {
    await withProgram(name, {}, async (program) => {
      const outcome = await trial(program);
      assert(outcome instanceof Error || outcome instanceof Uint8Array && outcome.length === 0, `${outcome}`);
    });
  }
  await withProgram("main", {}, async (program) => {
    assertEquals(await trial(program), HELLO);
    assertEquals(await program.exit(), 0);
    assertEquals(program.lines().map(({ client }) => client), [2, 1]);
  });
});

test("the examples buffer a message of any size, main.ts drops the client at --max-message", async () => {
  const trial = async (program: Program) => {
    using client = await Deno.connect(program.address);
    await writeAll(client, new Uint8Array(100_000_000));
    await client.closeWrite();
    return (await readToEof(client)).length;
  };
  for (const name of ["minimal", "robust"] as const) {
    await withProgram(name, {}, async (program) => {
      assertEquals(await trial(program), 100_000_000);
      assert((await program.statistics()).residentPeak > 100_000_000);
    });
  }
  await withProgram("main", { flags: ["--max-message=1M"] }, async (program) => {
    await assertRejects(() => trial(program));
    await program.line(/client 1 .* dropped .*: message: /);
    assert(await serves(program));
  });
});

test("the examples keep a silent client, main.ts drops it at --idle-timeout", async () => {
  const trial = async (program: Program) => {
    using client = await Deno.connect(program.address);
    return await Promise.race([client.read(new Uint8Array(1)).catch(() => {}), delay(1000).then(() => "kept")]);
  };
  await withProgram("minimal", {}, async (program) => assertEquals(await trial(program), "kept"));
  await withProgram("robust", {}, async (program) => assertEquals(await trial(program), "kept"));
  await withProgram(
    "main",
    { flags: ["--idle-timeout=0.2"] },
    async (program) => assertEquals(await trial(program), null),
  );
});

Deno.test(
  ignoreIf(
    canMount ? "" : "needs root to mount a tmpfs",
    "a full disk ends minimal.ts, costs clients of robust.ts their lines, and only delays those of main.ts",
  ),
  async () => {
    {
      using disk = new Tmpfs("size=64k");
      await withProgram("minimal", { folder: disk.folder }, async (program) => {
        disk.fill();
        await roundTrip(program.address, HELLO);
        assert(await program.exit() !== 0);
      });
    }
    for (const name of ["robust", "main"] as const) {
      using disk = new Tmpfs("size=64k");
      await withProgram(name, { folder: disk.folder }, async (program) => {
        disk.fill();
        for (let i = 0; i < 3; i++) await roundTrip(program.address, HELLO);
        disk.free();
        assert(await serves(program));
        const expected = name === "robust" ? [4] : [1, 2, 3, 4];
        await until(() => program.log().split("\n").length > expected.length);
        assertEquals(program.lines().map(({ client }) => client), expected);
        if (name === "robust") assertEquals(program.matches(/^client \d dropped: .*os error 28/).length, 3); // ENOSPC
      });
    }
  },
);

function test(name: string, fn: () => Promise<void>): void {
  Deno.test(ignoreIf(missing, name), fn);
}
