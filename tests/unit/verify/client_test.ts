import { assert, assertEquals, assertObjectMatch, assertRejects } from "@std/assert";
import { Client, isWhole, type Message, type Outcome } from "../../../verify/client.ts";
import { Pattern } from "../../../verify/content.ts";
import { hasPermissions, ignoreIf } from "../../support/permissions.ts";
import { pattern, readToEof, writeAll } from "../../support/tcp_client.ts";
import { startResettingServer, TcpServer } from "../../support/tcp_server.ts";
import { delay } from "../../support/wait.ts";

const noNet = hasPermissions({ name: "net" }) ? "" : "permissions are missing";

/** Longer than any step of these tests takes, and short enough to be waited for. */
const TIMEOUT_MS = 300;

/** More than the kernel buffers, so that a side that does not read is felt. */
const LARGE = 32 * 1024 ** 2;

const forEver = new Promise<never>(() => {});

/** Serves as it should. */
async function echo(conn: Deno.Conn): Promise<void> {
  await writeAll(conn, await readToEof(conn));
}

/** Echoes before the half-close. */
async function echoAtOnce(conn: Deno.TcpConn): Promise<void> {
  await conn.readable.pipeTo(conn.writable);
}

/** Has one client send one message. */
async function exchange(
  serve: (conn: Deno.TcpConn) => Promise<unknown>,
  message: Message,
  timeoutMs: number = 0,
): Promise<Outcome> {
  await using server = new TcpServer(serve);
  using client = await Client.connect(server.address, timeoutMs);
  return await client.exchange(message);
}

const HOW: Record<string, Omit<Message, "size">> = {
  "reading while it sends": {},
  "in segments of 1000 bytes": { segment: 1000 },
  "reading only after the half-close": { readAfterMs: 0 },
  "with pauses": { pauseHalfwayMs: 1, pauseAtEndMs: 1, readAfterMs: 1 },
  "with other bytes": { content: () => new Pattern(7) },
};

for (const [how, message] of Object.entries(HOW)) {
  Deno.test(ignoreIf(noNet, `exchange() gets every byte back, ${how}`), async () => {
    for (const size of [0, 1, 5, 65_535, 65_536, 65_537, 1_000_000]) {
      const received: Uint8Array[] = [];
      const outcome = await exchange(async (conn) => {
        const bytes = await readToEof(conn);
        received.push(bytes);
        await writeAll(conn, bytes);
      }, { ...message, size });
      assertEquals(outcome, { end: "eof", size, sent: size, halfClosed: true, received: size, early: 0 });
      assert(isWhole(outcome));
      assertEquals(received, [(message.content?.() ?? new Pattern()).fill(new Uint8Array(size))]);
    }
  });
}

Deno.test(ignoreIf(noNet, "exchange() writes one segment at a time"), async () => {
  const filled: number[][] = []; // by the sender, then by what compares
  const content = () => {
    const lengths: number[] = [];
    filled.push(lengths);
    return { fill: (buffer: Uint8Array) => (lengths.push(buffer.length), buffer) };
  };
  for (const [segment, lengths] of [[1, [1, 1, 1, 1, 1]], [2, [2, 2, 1]], [9, [2, 3]]] as const) {
    filled.length = 0;
    await exchange(echo, { size: 5, content, segment, readAfterMs: 0 });
    assertEquals(filled[0], [...lengths]); // the message is sent in two halves
  }
});

Deno.test(ignoreIf(noNet, "exchange() reads no byte before it is time"), async () => {
  const start = performance.now();
  assert(isWhole(await exchange(echo, { size: 5, readAfterMs: 200 })));
  assert(performance.now() - start >= 199);
});

Deno.test("isWhole() is true for what came back after the half-close, to the last byte and not one more", () => {
  const whole: Outcome = { end: "eof", size: 5, sent: 5, halfClosed: true, received: 5, early: 0 };
  assert(isWhole(whole));
  assert(isWhole({ ...whole, end: "reset" }));
  const others: Partial<Outcome>[] = [{ end: "wrong" }, { end: "timeout" }, { received: 4 }, { halfClosed: false }];
  for (const other of others) assert(!isWhole({ ...whole, ...other }), JSON.stringify(other));
});

Deno.test(ignoreIf(noNet, "exchange() counts the bytes that come back before the half-close"), async () => {
  const outcome = await exchange(echoAtOnce, { size: 5, pauseAtEndMs: 200 });
  assertObjectMatch(outcome, { end: "eof", received: 5, early: 5 });
  assert(isWhole(outcome));
});

Deno.test(ignoreIf(noNet, "exchange() sends while it receives, so that an early echo of any size passes"), async () => {
  assert(isWhole(await exchange(echoAtOnce, { size: LARGE }, 10_000)));
});

/** What servers do, and what becomes of a message of five bytes: 0x3c and four others. */
const WRONG: Record<string, [serve: (conn: Deno.TcpConn) => Promise<unknown>, outcome: Partial<Outcome>]> = {
  "the reply lacks its last byte": [
    async (conn) => await writeAll(conn, (await readToEof(conn)).subarray(0, -1)),
    { end: "eof", halfClosed: true, received: 4 },
  ],
  "the reply has other bytes": [
    async (conn) => {
      const reply = await readToEof(conn);
      await writeAll(conn, reply.with(3, 0xff));
    },
    { end: "wrong", received: 3, wrong: { expected: pattern(5)[3], received: 0xff } },
  ],
  "the reply has a byte too many": [
    async (conn) => await writeAll(conn, Uint8Array.of(...await readToEof(conn), 0xee)),
    { end: "wrong", received: 5, wrong: { expected: undefined, received: 0xee } },
  ],
  "nothing comes back": [
    async (conn) => {
      await readToEof(conn);
      await forEver;
    },
    { end: "timeout", halfClosed: true, received: 0 },
  ],
  "the connection stays open after the reply": [
    async (conn) => {
      await echo(conn);
      await forEver;
    },
    { end: "timeout", halfClosed: true, received: 5 },
  ],
};

for (const [what, [serve, expected]] of Object.entries(WRONG)) {
  for (const readAfterMs of [undefined, 0]) {
    const when = readAfterMs === undefined ? "reading while it sends" : "reading after the half-close";
    Deno.test(ignoreIf(noNet, `exchange() tells, ${when}, that ${what}`), async () => {
      const message = readAfterMs === undefined ? { size: 5 } : { size: 5, readAfterMs };
      const outcome = await exchange(serve, message, expected.end === "timeout" ? TIMEOUT_MS : 0);
      assertObjectMatch(outcome, { sent: 5, ...expected });
      assert(!isWhole(outcome));
    });
  }
}

Deno.test(ignoreIf(noNet, "exchange() tells that the connection was reset after the whole reply"), async () => {
  await using server = await startResettingServer((socket) => {
    socket.on("data", (bytes) => socket.write(bytes)).on("end", () => socket.resetAndDestroy());
  });
  using client = await Client.connect(server.address);
  const outcome = await client.exchange({ size: 5, pauseAtEndMs: 50 });
  assertObjectMatch(outcome, { end: "reset", halfClosed: true, received: 5 });
  assert(isWhole(outcome));
});

Deno.test(ignoreIf(noNet, "exchange() tells that the connection was reset while it sent"), async () => {
  await using server = await startResettingServer((socket) => socket.once("data", () => socket.resetAndDestroy()));
  for (const message of [{ size: LARGE }, { size: LARGE, readAfterMs: 0 }]) {
    using client = await Client.connect(server.address);
    const outcome = await client.exchange(message);
    assertObjectMatch(outcome, { end: "reset", halfClosed: false, received: 0 });
    assert(outcome.sent < LARGE);
  }
});

Deno.test(ignoreIf(noNet, "exchange() tells that the connection was closed before the half-close"), async () => {
  const close = async (conn: Deno.Conn) => await conn.read(new Uint8Array(9));
  const outcome = await exchange(close, { size: 8, pauseHalfwayMs: 200 });
  assertObjectMatch(outcome, { end: "eof", sent: 4, halfClosed: false, received: 0 });
});

Deno.test(ignoreIf(noNet, "exchange() gives up if the server stops reading"), async () => {
  for (const message of [{ size: LARGE }, { size: LARGE, readAfterMs: 0 }]) {
    const outcome = await exchange(() => forEver, message, TIMEOUT_MS);
    assertObjectMatch(outcome, { end: "timeout", halfClosed: false, received: 0 });
    assert(outcome.sent > 0 && outcome.sent < LARGE);
  }
});

Deno.test(ignoreIf(noNet, "exchange() does not count its own pauses as silence"), async () => {
  const pauses = { pauseHalfwayMs: 1500, pauseAtEndMs: 1500 };
  const messages = [{ size: 10, ...pauses }, { size: 10, ...pauses, readAfterMs: 1500 }];
  const outcomes = messages.flatMap((message) => [echo, echoAtOnce].map((serve) => exchange(serve, message, 1000)));
  for (const outcome of await Promise.all(outcomes)) assert(isWhole(outcome), JSON.stringify(outcome));
});

Deno.test(ignoreIf(noNet, "exchange() goes on while bytes move, for longer than the timeout"), async () => {
  const slowly = async (conn: Deno.TcpConn) => {
    conn.setNoDelay();
    for (const byte of await readToEof(conn)) {
      await delay(100);
      await writeAll(conn, Uint8Array.of(byte));
    }
  };
  const readSlowly = async (conn: Deno.TcpConn) => {
    for (let bytes: number | null = 0; bytes !== null; bytes = await conn.read(new Uint8Array(2 ** 20))) {
      await delay(100);
    }
  };
  const [whole, unanswered] = await Promise.all([
    exchange(slowly, { size: 15 }, 1000),
    exchange(readSlowly, { size: LARGE, readAfterMs: 0 }, 1000),
  ]);
  assert(isWhole(whole));
  assertObjectMatch(unanswered, { end: "eof", sent: LARGE });
});

Deno.test({
  ...ignoreIf(noNet, "exchange() leaves neither a connection nor a timer open, whatever has become of the message"),
  sanitizeOps: true,
  sanitizeResources: true,
  async fn() {
    for (const serve of [echo, () => Promise.resolve(), (conn: Deno.Conn) => writeAll(conn, pattern(9, 9))]) {
      for (const message of [{ size: LARGE }, { size: LARGE, readAfterMs: 0 }]) {
        await using server = new TcpServer(serve);
        const client = await Client.connect(server.address, 10_000);
        await client.exchange(message);
      }
    }
  },
});

Deno.test(ignoreIf(noNet, "connect() gives up if the server does not accept connections any more"), async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
  using clients = new DisposableStack();
  const error = await assertRejects(async () => {
    for (;;) clients.use(await Client.connect(listener.addr, TIMEOUT_MS));
  }, DOMException);
  assertEquals(error.name, "TimeoutError");
});

Deno.test(ignoreIf(noNet, "connect() rejects if nothing listens"), async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  listener.close();
  await assertRejects(() => Client.connect(listener.addr), Deno.errors.ConnectionRefused);
});
