import { assert, assertEquals, assertMatch } from "@std/assert";
import { NAMES, type Row, Verification } from "../../../verify/checks.ts";
import type { Options } from "../../../verify/options.ts";
import { hasPermissions, ignoreIf } from "../../support/permissions.ts";
import { readToEof, writeAll } from "../../support/tcp_client.ts";
import { startResettingServer, TcpServer } from "../../support/tcp_server.ts";

const noNet = hasPermissions({ name: "net" }) ? "" : "permissions are missing";

const OPTIONS: Options = {
  hostname: "127.0.0.1",
  port: 0,
  clients: 16,
  timeout: 10,
  maxMessage: 70_000,
  seconds: 0.1,
  json: false,
};

/** Verifies a server. */
async function verify(serve: (conn: Deno.TcpConn) => Promise<unknown>, options = OPTIONS): Promise<Verification> {
  await using server = new TcpServer(serve);
  return await run(new Verification(server.address, options));
}

async function run(verification: Verification): Promise<Verification> {
  const rows: Row[] = [];
  for await (const row of verification.run()) rows.push(row);
  assertEquals(rows.map(({ name }) => name), [...NAMES]);
  assertEquals(verification.rows, rows);
  return verification;
}

/** The names of the rows with this result. */
function names({ rows }: Verification, result: Row["result"]): string[] {
  return rows.filter((row) => row.result === result).map(({ name }) => name);
}

Deno.test(ignoreIf(noNet, "Verification finds nothing wrong with a server that is right"), async () => {
  const messages: Uint8Array[] = [];
  const verification = await verify(async (conn) => {
    const message = await readToEof(conn);
    messages.push(message);
    await writeAll(conn, message);
  });
  assertEquals(names(verification, "passed"), [...NAMES], JSON.stringify(verification.rows));
  assertEquals([verification.passed, verification.echoesEarly], [true, false]);
  const lengths = messages.map(({ length }) => length);
  const sizes = new Set(lengths);
  for (const size of [0, 5, 511, 512, 513, 4095, 4096, 4097, 65_535, 65_536, 65_537]) {
    assert(sizes.has(size), `${size}`);
  }
  assertEquals(Math.max(...sizes), 70_000); // --max-message
  assertEquals(lengths.filter((length) => length === 70_000).length, 2); // "write-first" and "slow-reader"
  const concurrent = messages.filter(({ length }) => length > 65_537 && length < 65_536 + OPTIONS.clients);
  assertEquals(new Set(concurrent.map((message) => `${message.subarray(0, 5)}`)).size, OPTIONS.clients - 2);
  assertEquals(lengths.slice(-verification.times.count).every((length) => length === 5), true);
  const paused = verification.rows.filter(({ name }) => name.startsWith("slow-"));
  assert(paused.every(({ seconds }) => seconds >= 2.9), JSON.stringify(paused));
});

Deno.test(ignoreIf(noNet, "Verification names a server that echoes early, and skips what would deadlock"), async () => {
  const verification = await verify((conn) => conn.readable.pipeTo(conn.writable));
  assertEquals(verification.echoesEarly, true);
  assertEquals(names(verification, "skipped"), ["silence", "write-first", "slow-reader"]);
  assertEquals(names(verification, "failed"), [], JSON.stringify(verification.rows));
  assertEquals(verification.passed, true);
});

Deno.test(ignoreIf(noNet, "Verification names a server that echoes early beyond 1 KiB, in one row"), async () => {
  const verification = await verify(async (conn) => {
    const buffer = new Uint8Array(65_536);
    let held = 0;
    for (let read = await conn.read(buffer); read !== null; read = await conn.read(buffer.subarray(held))) {
      held += read;
      if (held <= 1024) continue;
      await writeAll(conn, buffer.subarray(0, held));
      held = 0;
    }
    await writeAll(conn, buffer.subarray(0, held));
  }, { ...OPTIONS, maxMessage: 4096 });
  assertEquals([verification.passed, verification.echoesEarly], [true, true], JSON.stringify(verification.rows));
  const early = verification.rows.filter(({ seen }) => seen !== undefined);
  assertEquals(early.map(({ name, result }) => [name, result]), [["slow-sender", "passed"]]);
  assertMatch(`${early[0]?.seen}; ${early[0]?.pointsTo}`, /^early: bytes came back before the half-close; .*RFC 862/);
});

Deno.test(
  ignoreIf(noNet, "Verification does not take the echo of a message that was cut for an early one"),
  async () => {
    await using server = new TcpServer(async (conn) => {
      if (verification.running !== "slow-sender") return await writeAll(conn, await readToEof(conn));
      const half = new Uint8Array(32_768);
      let received = 0;
      while (received < half.length) received += await conn.read(half.subarray(received)) ?? 0;
      await writeAll(conn, half);
    });
    const verification = new Verification(server.address, OPTIONS);
    await run(verification);
    assertEquals(names(verification, "failed"), ["slow-sender"]);
    assertEquals(verification.echoesEarly, false);
  },
);

Deno.test(ignoreIf(noNet, "Verification skips the rest if no small message comes back"), async () => {
  const verification = await verify(async (conn) => void await readToEof(conn));
  assertEquals(names(verification, "failed"), ["small"]);
  assertEquals(names(verification, "skipped"), NAMES.slice(3));
  assertEquals(verification.passed, false);
});

for (
  const [what, from, failed] of [["at all times", "empty", "eof"], ["beside other clients", "load", "load"]] as const
) {
  Deno.test(ignoreIf(noNet, `Verification fails in "${failed}" if replies end with a reset ${what}`), async () => {
    await using server = await startResettingServer((socket) => {
      const parts: Uint8Array[] = [];
      socket.on("data", (bytes) => parts.push(bytes)).on("end", () => {
        for (const part of parts) socket.write(part);
        const isReset = NAMES.indexOf(verification.running) >= NAMES.indexOf(from) && socket.bytesRead === 5;
        // A reset discards what has not been sent yet.
        if (isReset) setTimeout(() => socket.resetAndDestroy(), 20);
        else socket.end();
      });
    });
    const verification = new Verification(server.address, OPTIONS);
    await run(verification);
    assertEquals(names(verification, "failed"), from === "load" ? ["load"] : ["eof", "load"]);
    assertMatch(verification.rows.find(({ name }) => name === failed)?.seen ?? "", /^reset after the last byte/);
  });
}

Deno.test(ignoreIf(noNet, 'Verification fails in "concurrent" if a client gets the bytes of another'), async () => {
  let last = new Uint8Array();
  let received = 0;
  const allReceived = Promise.withResolvers<void>();
  const verification = await verify(async (conn) => {
    const message = await readToEof(conn);
    if (message.length <= 65_537 || message.length >= 65_536 + OPTIONS.clients) return await writeAll(conn, message);
    last = Uint8Array.from(message);
    if (++received === OPTIONS.clients - 2) allReceived.resolve();
    await allReceived.promise;
    await writeAll(conn, last);
  });
  assertEquals(names(verification, "failed"), ["concurrent"], JSON.stringify(verification.rows));
  const { seen, pointsTo } = verification.rows.find(({ name }) => name === "concurrent") ?? {};
  assertMatch(`${seen}; ${pointsTo}`, /^byte 1 differs: .*; .*mixes up connections$/);
});

Deno.test(ignoreIf(noNet, "Verification skips everything if it cannot connect"), async () => {
  const server = new TcpServer(() => Promise.resolve());
  const { address } = server;
  await server[Symbol.asyncDispose]();
  const verification = new Verification(address, OPTIONS);
  for await (const _ of verification.run());
  assertEquals(names(verification, "failed"), ["connect"]);
  assertEquals(names(verification, "skipped"), NAMES.slice(1));
});
