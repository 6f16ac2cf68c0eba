import { assertEquals, assertStringIncludes } from "@std/assert";
import { main } from "../../main.ts";
import { hasPermissions, ignoreIf } from "../support/permissions.ts";
import { nextIteration } from "../support/wait.ts";
import { DISK_FULL } from "./system_errors.ts";

const missing = hasPermissions({ name: "net" }) ? "" : "permissions are missing";

/** What main() takes from the system, and the test gives: signals, terminals, the time, the access log, stderr. */
class FakeSystem implements Disposable {
  hasTerminal = false;
  isDiskFull = false;
  /** Milliseconds that the clock is ahead. */
  ahead = 0;
  diagnostics = "";
  log = "";
  opened = 0;

  /** What is listened for, and what it does. */
  readonly signals = new Map<Deno.Signal, () => void>();

  readonly #restore: (() => void)[] = [];
  #port = Promise.withResolvers<number>();

  /** @param os What the program takes the system for. */
  constructor(os: typeof Deno.build.os = Deno.build.os) {
    const now = performance.now.bind(performance);
    const isTerminal = () => this.hasTerminal;
    this.#replace(performance, { now: () => now() + this.ahead });
    for (const stream of [Deno.stdin, Deno.stdout]) this.#replace(stream, { isTerminal });
    const write = (bytes: Uint8Array) => {
      this.diagnostics += new TextDecoder().decode(bytes);
      const [, port] = /listening on .*:(\d+),/.exec(this.diagnostics) ?? [];
      if (port !== undefined) this.#port.resolve(Number(port));
      return Promise.resolve(bytes.length);
    };
    this.#replace(Deno.stderr, { isTerminal, write });
    const addSignalListener = (signal: Deno.Signal, act: () => void) => void this.signals.set(signal, act);
    const writeSync = (bytes: Uint8Array) => {
      if (this.isDiskFull && bytes.length > 0) throw DISK_FULL;
      this.log += new TextDecoder().decode(bytes);
      return bytes.length;
    };
    const openSync = () => (this.opened++, { writeSync, seekSync: () => 0, truncateSync() {}, close() {} });
    const mkdirSync = () => {
      throw new Deno.errors.AlreadyExists();
    };
    this.#replace(Deno, { addSignalListener, openSync, mkdirSync, build: { ...Deno.build, os } } as never);
  }

  /** Runs main(). `status` resolves with its exit status. */
  async start(): Promise<{ status: Promise<number>; port: number }> {
    const status = main(["--hostname=127.0.0.1", "--port=0", "--access-log=log", "--drain-timeout=60"]);
    return { status, port: await this.#port.promise };
  }

  signal(name: Deno.Signal): void {
    this.signals.get(name)?.();
  }

  [Symbol.dispose](): void {
    for (const restore of this.#restore) restore();
  }

  #replace<T extends object>(object: T, by: Partial<T>): void {
    const before = Object.getOwnPropertyDescriptors(object);
    for (const [name, value] of Object.entries(by)) {
      Object.defineProperty(object, name, { value, configurable: true, writable: true });
      this.#restore.push(() => {
        const descriptor = before[name as keyof T];
        if (descriptor === undefined) delete object[name as keyof T];
        else Object.defineProperty(object, name, descriptor);
      });
    }
  }
}

/** A client in flight, with one byte sent. */
async function connect(port: number): Promise<Deno.TcpConn> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await conn.write(new Uint8Array(1));
  return conn;
}

/** It half-closes and reads its reply. Returns how many bytes that has: 0 if it was dropped. */
async function finish(conn: Deno.TcpConn): Promise<number> {
  try {
    await conn.closeWrite();
    return (await new Response(conn.readable).bytes()).length;
  } catch {
    return 0;
  }
}

Deno.test(ignoreIf(missing, "main() serves until SIGTERM, and its exit status is 0"), async () => {
  using system = new FakeSystem();
  const { status, port } = await system.start();
  assertEquals(await finish(await connect(port)), 1);
  assertEquals(system.log, "[client 1]: received 1 bytes\n");
  system.signal("SIGTERM");
  assertEquals(await status, 0);
});

Deno.test(ignoreIf(missing, "main() prints the lines left over, and its exit status is 1"), async () => {
  using system = new FakeSystem();
  system.isDiskFull = true;
  const { status, port } = await system.start();
  assertEquals(await finish(await connect(port)), 1);
  system.signal("SIGINT");
  assertEquals(await status, 1);
  assertStringIncludes(system.diagnostics, "\n[client 1]: received 1 bytes\n");
});

Deno.test(ignoreIf(missing, "main() reopens the log on SIGHUP, and drains if the terminal is gone"), async () => {
  using system = new FakeSystem();
  system.hasTerminal = true;
  const { status } = await system.start();
  system.signal("SIGHUP");
  assertEquals(system.opened, 2);
  system.hasTerminal = false;
  system.signal("SIGHUP");
  assertEquals(await status, 0);
  assertEquals(system.opened, 2);
});

Deno.test(ignoreIf(missing, "main() reopens the log on SIGHUP if it never had a terminal"), async () => {
  using system = new FakeSystem();
  const { status } = await system.start();
  system.signal("SIGHUP");
  assertEquals(system.opened, 2);
  system.signal("SIGTERM");
  assertEquals(await status, 0);
});

Deno.test(
  ignoreIf(
    missing,
    "main() counts a signal that is repeated within a second once, and drops all clients on a later one",
  ),
  async () => {
    for (const [ahead, reply] of [[500, 1], [1000, 0]] as const) {
      using system = new FakeSystem();
      const { status, port } = await system.start();
      const conn = await connect(port);
      system.signal("SIGINT");
      while (!system.diagnostics.includes("draining")) await nextIteration();
      system.ahead = ahead;
      system.signal("SIGINT");
      assertEquals(await finish(conn), reply);
      assertEquals(await status, 0);
    }
  },
);

Deno.test(ignoreIf(missing, "main() ignores signals once all clients are served"), async () => {
  using system = new FakeSystem();
  const { status } = await system.start();
  system.signal("SIGTERM");
  assertEquals(await status, 0);
  system.signal("SIGHUP");
  system.signal("SIGTERM");
  assertEquals(system.opened, 1);
});

Deno.test(
  ignoreIf(missing, "main() drains on Ctrl-Break on Windows, and listens for no signal that Windows lacks"),
  async () => {
    using system = new FakeSystem("windows");
    const { status } = await system.start();
    assertEquals([...system.signals.keys()].sort(), ["SIGBREAK", "SIGHUP", "SIGINT", "SIGTERM"]);
    system.signal("SIGBREAK");
    assertEquals(await status, 0);
  },
);
