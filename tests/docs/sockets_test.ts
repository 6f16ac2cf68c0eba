/** Holds `docs/sockets.md` to the code and to the kernel. */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { ROOT, run, succeeds } from "../support/commands.ts";
import { canRun, ignoreIf } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { pattern, readToEof, roundTrip, waitForClose, writeAll } from "../support/tcp_client.ts";
import { delay } from "../support/wait.ts";

const missing = canRun ? "" : "permissions are missing";
const TEXT = canRun ? Deno.readTextFileSync(`${ROOT}docs/sockets.md`) : "";

test("docs/sockets.md names functions and calls that are in the linked files", "", () => {
  const links = new Map(Array.from(TEXT.matchAll(/^\[(\w+)\]: \.\.\/(\S+)$/gm), ([, name, path]) => [name, path]));
  const rows = TEXT.matchAll(/^\| .*\| `([.\w]+)\(.*\| `(#?\w+)(?:\(\))?` in \[`(.*)`\]\[(\w+)\] +\|$/gm);
  let count = 0;
  for (const [, call = "", name = "", path = "", link] of rows) {
    assertEquals(links.get(link), path);
    const source = Deno.readTextFileSync(ROOT + path);
    assertMatch(source, definition(name));
    assert(source.includes(`.${call.split(".")[1]}(`), `${path} calls ${call}`);
    count++;
  }
  assertEquals(count, 7);
});

test("docs/sockets.md explains system calls by functions that are in lib/", "", () => {
  const lib = Array.from(Deno.readDirSync(`${ROOT}lib`), ({ name }) => Deno.readTextFileSync(`${ROOT}lib/${name}`));
  const functions = Array.from(TEXT.matchAll(/^\| +\d+ \| `(?:(\w+)\.)?(#?\w+)(?:\(\))?` /gm));
  assertEquals(functions.length, 15);
  for (const [, owner, name] of functions) {
    const defines = (source: string) => source.includes(`class ${owner ?? ""}`) && definition(name).test(source);
    assert(lib.some(defines), `${owner}.${name}`);
  }
});

test("docs/sockets.md tells how long the examples are", "", () => {
  for (const name of ["minimal", "robust"]) {
    const lines = Deno.readTextFileSync(`${ROOT}examples/${name}.ts`).split("\n");
    const code = lines.filter((line) => line.trim() !== "" && !/^ *(\/\/|\/?\*)/.test(line));
    assertMatch(TEXT, new RegExp(`examples/${name}\\.ts\\)\\*\\*[^.]*\\b${code.length} lines without comments`));
  }
});

test("two sends can come in one recv, and one send can need many", "", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using client = await Deno.connect({ port: listener.addr.port });
  using server = await listener.accept();
  await writeAll(client, pattern(3));
  await writeAll(client, pattern(2));
  const buffer = new Uint8Array(1_000_000);
  assertEquals(await server.read(buffer), 5);
  const sending = writeAll(client, pattern(10_000_000));
  let recvs = 0;
  for (let received = 0; received < 10_000_000; recvs++) received += await server.read(buffer) ?? NaN;
  await sending;
  assert(recvs > 10);
});

test("a client that closes instead of half-closing resets the reply", "", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const client = await Deno.connect({ port: listener.addr.port });
  using server = await listener.accept();
  client.close();
  assertEquals(await server.read(new Uint8Array(1)), null);
  await server.write(pattern(5)); // the kernel takes it, and the client's kernel answers with a reset
  await assertRejects(async () => {
    for (;;) await server.write(pattern(5));
  }, Deno.errors.BrokenPipe);
});

test("closing a listener resets the connection in its backlog", "", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using client = await Deno.connect({ port: listener.addr.port });
  listener.close();
  assertEquals(await waitForClose(client), "reset");
});

test("a backlog of N holds N + 1 connections, and the next one is tried again after a second", "", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 2 });
  const connect = () => Deno.connect({ port: listener.addr.port });
  await using cleanup = new AsyncDisposableStack();
  for (let i = 0; i < 3; i++) cleanup.use(await connect());
  const begin = performance.now();
  const fourth = connect();
  assertEquals(await Promise.race([fourth, delay(200)]), undefined);
  for (let i = 0; i < 4; i++) cleanup.use(await listener.accept());
  cleanup.use(await fourth);
  assert(performance.now() - begin > 900);
});

test(
  "a client that was dropped leaves TIME_WAIT on the server's port, which it can bind again with SO_REUSEADDR only",
  succeeds("python3", "--version") ? "" : "needs python3",
  async () => {
    const { port } = await (async () => {
      await using program = await Program.start({ flags: ["--idle-timeout=0.2"] });
      using conn = await Deno.connect(program.address);
      assertEquals(await readToEof(conn), new Uint8Array());
      return program.address;
    })();
    const bind = async (reuse: number) => {
      const script = "import socket, sys\ns = socket.socket()\n" +
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(sys.argv[2]))\n" +
        "s.bind(('127.0.0.1', int(sys.argv[1])))";
      return (await run(["python3", "-c", script, `${port}`, `${reuse}`])).stderr;
    };
    assertMatch(await bind(0), /Address already in use/);
    assertEquals(await bind(1), "");
    await using program = await Program.start({ port });
    assertEquals(await roundTrip(program.address, pattern(5)), pattern(5));
  },
);

/** Where a function, a class or a method is defined. */
function definition(name: string = ""): RegExp {
  return new RegExp(`^(export )?((async )?function|class) ${name}\\b|^  (async )?${name}\\(`, "m");
}

function test(name: string, needs: string | undefined, fn: () => void | Promise<void>): void {
  Deno.test(ignoreIf(missing || needs || "", name), async () => await fn());
}
