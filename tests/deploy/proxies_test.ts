import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Name } from "../../verify/checks.ts";
import { type Address, Program } from "../support/program.ts";
import { pattern, writeAll } from "../support/tcp_client.ts";
import { delay, until } from "../support/wait.ts";
import { Verdict } from "../support/verdict.ts";
import { echo, loggedSizes } from "./load.ts";
import * as relays from "./relay.ts";
import { Relay, type Setup } from "./relay.ts";
import { replace } from "./replace.ts";
import { needing } from "./requirements.ts";

/** Large enough to fill the buffers of the kernel and of a relay while the client does not read. */
const FLAGS = ["--max-message=8M", "--seconds=0.2", "--timeout=5"];

/** A program, and what `verify` says of it. */
interface Expectation {
  setup: Setup;
  /** The rows that fail. None: it passes. */
  fails?: Partial<Record<Name, RegExp>>;
  /** Rows that fail only at times. */
  mayFail?: Name[];
  /** Whether it echoes before the half-close. */
  echoesEarly?: boolean;
}

const CLOSES_BOTH = { small: /^failed; EOF after 0 of 5 bytes; .*closes both directions.*proxy_half_close on/ };
const IDLE = { "slow-sender": /^failed; EOF after .* 32,768 sent; .*proxy_timeout.*timeout client/ };
const HEADER = { empty: /^failed; .*PROXY/, small: /^failed; byte 1 differs: sent 0x.., received 0x50; .*PROXY/ };

const PROXIES: Record<string, Expectation> = {
  "nginx": { setup: relays.nginx(), fails: CLOSES_BOTH },
  "nginx, proxy_half_close on": { setup: relays.nginx("proxy_half_close on;") },
  "nginx, proxy_timeout 2s": {
    setup: relays.nginx("proxy_half_close on;", "proxy_timeout 2s;"),
    fails: IDLE,
    mayFail: ["slow-reader"],
  },
  "nginx, proxy_protocol on": { setup: relays.nginx("proxy_half_close on;", "proxy_protocol on;"), fails: HEADER },
  "HAProxy, haproxy.cfg": { setup: relays.haproxy() },
  "HAProxy, timeout client 2s": {
    setup: relays.haproxy((config) => replace(config, "timeout client 90s", "timeout client 2s")),
    fails: IDLE,
    mayFail: ["slow-reader"],
  },
  "HAProxy, send-proxy": {
    setup: relays.haproxy((config) => replace(config, "default-server check", "default-server send-proxy check")),
    fails: HEADER,
  },
  // It ends half a second after the half-close, whatever it still holds.
  "socat": {
    setup: relays.socat(),
    fails: { "slow-reader": /^failed; EOF after \d.* of 8,388,608 bytes; .*socat: -t 60/ },
    mayFail: ["sizes", "write-first", "one-byte", "concurrent"],
  },
  "socat, -t 60": { setup: relays.socat("-t", "60") },
  "OpenSSH, -L": { setup: relays.openssh },
  "systemd-socket-proxyd": { setup: relays.socketProxyd, fails: CLOSES_BOTH },
  // It loses the end of a large reply in some of the runs.
  "stunnel, client and server": { setup: relays.stunnel, mayFail: ["sizes", "write-first", "slow-reader"] },
  "xinetd, redirect": { setup: relays.xinetdRedirect, fails: CLOSES_BOTH },
  "redir": { setup: relays.redir, fails: CLOSES_BOTH },
  // Not a proxy: the server is started when the first client connects.
  "systemd-socket-activate": {
    setup: relays.socketActivation,
    fails: { empty: /^failed; no /, small: /^failed; no byte for 5 s after 0 of 5 bytes/ },
  },
};

const SERVERS: Record<string, Expectation> = {
  "xinetd's echo service": { setup: relays.xinetdEcho, echoesEarly: true },
  "socat, EXEC:cat": { setup: relays.socatCat(), mayFail: ["sizes", "one-byte", "concurrent"], echoesEarly: true },
  "socat, -t 60 EXEC:cat": { setup: relays.socatCat("-t", "60"), echoesEarly: true },
};

for (const [title, programs] of [["proxies", PROXIES], ["other echo servers", SERVERS]] as const) {
  Deno.test({
    ...needing(`verify tells which ${title} bring every byte back`),
    async fn(t) {
      await using server = await Program.start();
      const tried = Object.entries(programs).map(([name, expectation]) => ({
        expectation,
        ...needing(name, ...expectation.setup.needs),
      }));
      // At the same time, since most of a verification is waiting.
      const verdicts = await Promise.allSettled(tried.map(async ({ ignore, expectation: { setup } }) => {
        if (ignore) return undefined;
        await using relay = await Relay.start(setup, server.address);
        return await Verdict.on(relay.address, ...FLAGS);
      }));
      for (const [i, { expectation, ...test }] of tried.entries()) {
        await t.step({
          ...test,
          fn() {
            const verdict = verdicts[i];
            if (verdict?.status !== "fulfilled") throw verdict?.reason;
            if (verdict.value !== undefined) compare(verdict.value, expectation);
          },
        });
      }
    },
  });
}

/** Compares what `verify` says with what it is to say. */
function compare(verdict: Verdict, { fails = {}, mayFail = [], echoesEarly = false }: Expectation): void {
  const rows = Object.entries(fails) as [Name, RegExp][];
  for (const [name, says] of rows) assertMatch(verdict.row(name), says);
  const expected = new Set([...mayFail, ...rows.map(([name]) => name)]);
  for (const name of verdict.failed) assert(expected.has(name), `${name}: ${verdict.row(name)}`);
  assertEquals(verdict.echoesEarly, echoesEarly);
}

Deno.test({
  ...needing("verify finds that ncat with cat ends at the half-close", ...relays.ncatCat.needs),
  async fn() {
    await using relay = await Relay.start(relays.ncatCat, { hostname: "127.0.0.1", port: 0 });
    const verdict = await Verdict.on(relay.address, ...FLAGS);
    // It echoes at once: a small message may come back before the half-close is seen.
    const [first] = verdict.failed;
    assertMatch(first === undefined ? "passed" : verdict.row(first), /^failed; EOF after [\d,]+ of/);
  },
});

for (
  const [name, setup, processesPerClient] of [
    ["xinetd's echo service", relays.xinetdEcho, 1],
    ["socat with EXEC:cat", relays.socatCat("-t", "60"), 2],
    ["ncat with --exec cat", relays.ncatCat, 2],
  ] as const
) {
  Deno.test({
    ...needing(
      `${name} deadlocks with a client that writes before it reads, and starts processes for each client`,
      ...[...setup.needs, "pgrep"] as const,
    ),
    async fn() {
      await using relay = await Relay.start(setup, { hostname: "127.0.0.1", port: 0 });
      const before = await relay.processes();
      await using clients = new AsyncDisposableStack();
      for (let i = 1; i <= 10; i++) {
        const conn = clients.use(await Deno.connect(relay.address));
        await conn.write(pattern(1));
        assertEquals(await conn.read(new Uint8Array(2)), 1); // an early echo
        assertEquals(await relay.processes() - before, i * processesPerClient);
      }
      assert(await writeWithoutReading(relay.address) < LARGE);
    },
  });
}

Deno.test({
  ...needing("this server does not deadlock with a client that writes before it reads"),
  async fn() {
    await using server = await Program.start();
    assertEquals(await writeWithoutReading(server.address), LARGE);
  },
});

/** More than all buffers between a client and a server hold, in bytes. */
const LARGE = 64 * 1024 ** 2;

/** Writes a large message and reads nothing. Returns how many bytes were written until no more could be. */
async function writeWithoutReading(address: Address): Promise<number> {
  const conn = await Deno.connect(address);
  let written = 0;
  const writing = (async () => {
    const chunk = pattern(1024 ** 2);
    while (written < LARGE) written += await conn.write(chunk.subarray(0, LARGE - written));
  })().catch(() => {}); // the close interrupts it
  let before;
  do {
    before = written;
    await delay(2000); // far longer than a server takes that still reads
  } while (written > before && written < LARGE);
  conn.close();
  await writing;
  return written;
}

Deno.test({
  ...needing("nginx as it is installed loses every reply, and the access log has every line", ...relays.nginx().needs),
  async fn() {
    await using server = await Program.start();
    await using relay = await Relay.start(relays.nginx(), server.address);
    for (let i = 1; i <= 30; i++) {
      const failure = await echo(relay.address, pattern(i));
      assertEquals(failure?.reason, `EOF after 0 of ${i} bytes`);
    }
    await until(() => server.lines().length === 30);
    assertEquals(loggedSizes(server.lines()), Array.from({ length: 30 }, (_, i) => i + 1));
  },
});

for (
  const [name, setup] of [
    ["nginx", relays.nginx("proxy_half_close on;", "proxy_timeout 1s;")],
    ["HAProxy", relays.haproxy((config) => replace(config, "timeout client 90s", "timeout client 1s"))],
  ] as const
) {
  Deno.test({
    ...needing(`${name} makes a part of a message a whole one if its timeout is below --idle-timeout`, ...setup.needs),
    async fn() {
      await using server = await Program.start();
      await using relay = await Relay.start(setup, server.address);
      using conn = await Deno.connect(relay.address);
      await writeAll(conn, pattern(3)); // and more would follow
      await until(() => server.log() === "[client 1]: received 3 bytes\n");
    },
  });
}

Deno.test({
  ...needing("HAProxy takes a server for down if its check sends something and expects it back", "haproxy"),
  async fn() {
    await using server = await Program.start();
    const check =
      "option tcp-check\n    tcp-check send hello\n    tcp-check expect string hello\n    default-server check";
    const setup = relays.haproxy((config) => replace(config, "default-server check", check));
    await using relay = await Relay.start(setup, server.address);
    await server.line(/dropped after 5 bytes: reset/);
    await until(async () => (await echo(relay.address, pattern(5))) !== undefined, "HAProxy to have no server left");
  },
});
