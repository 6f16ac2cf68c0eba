import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { CannotStart, permissionMissing } from "../../lib/cannot_start.ts";
import { addressOf, BACKLOG, listen, type ListenOptions } from "../../lib/listen.ts";
import { granted, unless } from "../support/permissions.ts";
import { roundTrip } from "../support/tcp_client.ts";

const noNet = granted({ name: "net" }) ? "" : "permissions are missing";

/** Listens where it cannot. Returns the message, having checked that it is one line and names the address. */
function reason(
  hostname: string,
  port: number,
  cause: new (message: string) => Error,
  options: ListenOptions = {},
): string {
  const error = assertThrows(() => listen(hostname, port, options).close(), CannotStart);
  assertInstanceOf(error.cause, cause);
  assertStringIncludes(error.message, `cannot listen on ${addressOf(hostname, port)}: `);
  assert(!error.message.includes("\n"), error.message);
  return error.message;
}

/** Has `Deno.listen` do something else, for what cannot be caused for real by every user. */
function instead(fn: (options: Deno.TcpListenOptions) => never): Disposable {
  const original = Deno.listen;
  const replace = (value: unknown) =>
    Object.defineProperty(Deno, "listen", { value, configurable: true, writable: true });
  replace(fn);
  return { [Symbol.dispose]: () => void replace(original) };
}

Deno.test({
  ...unless(noNet, "listen() listens on any free port when the port is 0"),
  async fn() {
    using listener = listen("127.0.0.1", 0);
    assertEquals(listener.addr.hostname, "127.0.0.1");
    assertNotEquals(listener.addr.port, 0);
    const served = listener.accept().then((conn) => conn.close());
    assertEquals((await roundTrip(listener.addr, new Uint8Array(0))).length, 0);
    await served;
  },
});

Deno.test("listen() asks for a queue of BACKLOG clients", () => {
  let asked: Deno.TcpListenOptions | undefined;
  using _ = instead((options) => {
    asked = options;
    throw new Error("that was all");
  });
  assertThrows(() => listen("127.0.0.1", 4000));
  assertEquals(asked, { hostname: "127.0.0.1", port: 4000, reusePort: false, tcpBacklog: BACKLOG });
});

Deno.test({
  ...unless(
    noNet || (Deno.build.os === "linux" ? "" : "needs Linux"),
    "listen() shares the port only if all who listen there say so",
  ),
  fn() {
    using first = listen("127.0.0.1", 0, { reusePort: true });
    const { port } = first.addr;
    {
      using second = listen("127.0.0.1", port, { reusePort: true });
      assertEquals(second.addr, first.addr);
      assertStringIncludes(reason("127.0.0.1", port, Deno.errors.AddrInUse), "the port is taken; end");
    }
    using alone = listen("127.0.0.1", 0);
    assertStringIncludes(
      reason("127.0.0.1", alone.addr.port, Deno.errors.AddrInUse, { reusePort: true }),
      "the port is taken by a server without --reuse-port, or of another user; end",
    );
  },
});

for (const os of ["darwin", "windows", "freebsd"] as const) {
  Deno.test(`listen() shares no port on ${os}, and says so`, () => {
    const error = assertThrows(() => listen("127.0.0.1", 4000, { reusePort: true, os }).close(), CannotStart);
    assertEquals(
      error.message,
      `cannot share port 4000: only Linux spreads clients over servers on one port, and this is ${os}; run one server without --reuse-port`,
    );
  });
}

Deno.test({
  ...unless(noNet, "listen() needs Linux only to share a port"),
  fn() {
    for (const os of ["darwin", "windows", "freebsd"] as const) listen("127.0.0.1", 0, { os }).close();
  },
});

Deno.test({
  ...unless(noNet, "listen() says that the port is taken, and how to find by what"),
  fn() {
    using listener = listen("127.0.0.1", 0);
    const { port } = listener.addr;
    const message = reason("127.0.0.1", port, Deno.errors.AddrInUse);
    assertStringIncludes(message, `the port is taken; end what listens there ("ss -ltnp sport = :${port}" shows it)`);
  },
});

Deno.test({
  ...unless(noNet, "listen() says that no interface has the address"),
  fn() {
    // Of a range that is kept for documentation (RFC 5737).
    assertStringIncludes(reason("192.0.2.1", 4000, Deno.errors.AddrNotAvailable), "no interface of this machine");
  },
});

Deno.test({
  ...unless(noNet, "listen() says what is wrong with a name that is no address"),
  fn: () => void assertStringIncludes(reason("no such host", 4000, Error), "no such host"),
});

Deno.test({
  name: "listen() names the permission that is missing",
  permissions: { net: false },
  fn() {
    const message = reason("127.0.0.1", 4000, Deno.errors.NotCapable);
    assert(message.endsWith(permissionMissing("--allow-net=127.0.0.1:4000")), message);
  },
});

Deno.test({
  name: "listen() names the permission that is missing for an IPv6 address as the flag takes it",
  permissions: { net: false },
  fn() {
    const message = reason("::1", 4000, Deno.errors.NotCapable);
    assert(message.endsWith(permissionMissing("--allow-net=[::1]:4000")), message);
  },
});

Deno.test("listen() says that the system keeps the port from this user", () => {
  using _ = instead(() => {
    throw new Deno.errors.PermissionDenied("Permission denied (os error 13)");
  });
  assertStringIncludes(reason("127.0.0.1", 80, Deno.errors.PermissionDenied), "choose one from 1024 up with --port");
});

Deno.test("addressOf() puts an IPv6 address in brackets, and nothing else", () => {
  assertEquals(addressOf("0.0.0.0", 4000), "0.0.0.0:4000");
  assertEquals(addressOf("localhost", 1), "localhost:1");
  assertEquals(addressOf("::", 65_535), "[::]:65535");
});
