import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { CannotStart, explain, permissionMissing } from "../../lib/cannot_start.ts";
import { addressOf, BACKLOG, listen, type ListenOptions } from "../../lib/listen.ts";
import { openLogFile } from "../../lib/log_file.ts";
import { hasPermissions, ignoreIf } from "../support/permissions.ts";
import { roundTrip } from "../support/tcp_client.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const noNet = hasPermissions({ name: "net" }) ? "" : "permissions are missing";
const noFiles = hasPermissions({ name: "read" }, { name: "write" }) ? "" : "permissions are missing";

/** Has one of Deno's functions throw, for what cannot be caused for real by every user. */
function replaceByError(
  name: "listen" | "openSync" | "mkdirSync",
  error: Error,
  onCall: (options: Deno.TcpListenOptions) => void = () => {},
): Disposable {
  const original = Deno[name];
  const set = (value: unknown) => Object.defineProperty(Deno, name, { value, configurable: true, writable: true });
  set((options: Deno.TcpListenOptions) => {
    onCall(options);
    throw error;
  });
  return { [Symbol.dispose]: () => void set(original) };
}

// The listener.

/** Listens where it cannot. Returns the message, having checked that it is one line and names the address. */
function whyNotListen(
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

Deno.test({
  ...ignoreIf(noNet, "listen() listens on any free port when the port is 0"),
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
  using _ = replaceByError("listen", new Error("that was all"), (options) => void (asked = options));
  assertThrows(() => listen("127.0.0.1", 4000));
  assertEquals(asked, { hostname: "127.0.0.1", port: 4000, reusePort: false, tcpBacklog: BACKLOG });
});

Deno.test({
  ...ignoreIf(
    noNet || (Deno.build.os === "linux" ? "" : "needs Linux"),
    "listen() shares the port only if all who listen there say so",
  ),
  fn() {
    using first = listen("127.0.0.1", 0, { reusePort: true });
    const { port } = first.addr;
    {
      using second = listen("127.0.0.1", port, { reusePort: true });
      assertEquals(second.addr, first.addr);
      assertStringIncludes(whyNotListen("127.0.0.1", port, Deno.errors.AddrInUse), "the port is taken; end");
    }
    using alone = listen("127.0.0.1", 0);
    assertStringIncludes(
      whyNotListen("127.0.0.1", alone.addr.port, Deno.errors.AddrInUse, { reusePort: true }),
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
  ...ignoreIf(noNet, "listen() needs Linux only to share a port"),
  fn() {
    for (const os of ["darwin", "windows", "freebsd"] as const) listen("127.0.0.1", 0, { os }).close();
  },
});

Deno.test({
  ...ignoreIf(noNet, "listen() says that the port is taken, and how to find by what"),
  fn() {
    using listener = listen("127.0.0.1", 0);
    const { port } = listener.addr;
    const message = whyNotListen("127.0.0.1", port, Deno.errors.AddrInUse);
    assertStringIncludes(message, `the port is taken; end what listens there ("ss -ltnp sport = :${port}" shows it)`);
  },
});

Deno.test({
  ...ignoreIf(noNet, "listen() says that no interface has the address"),
  fn() {
    // Of a range that is kept for documentation (RFC 5737).
    assertStringIncludes(whyNotListen("192.0.2.1", 4000, Deno.errors.AddrNotAvailable), "no interface of this machine");
  },
});

Deno.test({
  ...ignoreIf(noNet, "listen() says what is wrong with a name that is no address"),
  fn: () => void assertStringIncludes(whyNotListen("no such host", 4000, Error), "no such host"),
});

Deno.test({
  name: "listen() names the permission that is missing",
  permissions: { net: false },
  fn() {
    const message = whyNotListen("127.0.0.1", 4000, Deno.errors.NotCapable);
    assert(message.endsWith(permissionMissing("--allow-net=127.0.0.1:4000")), message);
  },
});

Deno.test({
  name: "listen() names the permission that is missing for an IPv6 address as the flag takes it",
  permissions: { net: false },
  fn() {
    const message = whyNotListen("::1", 4000, Deno.errors.NotCapable);
    assert(message.endsWith(permissionMissing("--allow-net=[::1]:4000")), message);
  },
});

Deno.test("listen() says that the system keeps the port from this user", () => {
  using _ = replaceByError("listen", new Deno.errors.PermissionDenied("Permission denied (os error 13)"));
  assertStringIncludes(
    whyNotListen("127.0.0.1", 80, Deno.errors.PermissionDenied),
    "choose one from 1024 up with --port",
  );
});

Deno.test("addressOf() puts an IPv6 address in brackets, and nothing else", () => {
  assertEquals(addressOf("0.0.0.0", 4000), "0.0.0.0:4000");
  assertEquals(addressOf("localhost", 1), "localhost:1");
  assertEquals(addressOf("::", 65_535), "[::]:65535");
});

// The access log's file.

/** Opens what cannot be opened. Returns the message, having checked that it is one line and names the path. */
function whyNotOpen(path: string, cause: new (message: string) => Error): string {
  const error = assertThrows(() => openLogFile(path), CannotStart);
  assertInstanceOf(error.cause, cause);
  assertStringIncludes(error.message, path);
  assert(!error.message.includes("\n"), error.message);
  return error.message;
}

Deno.test({
  ...ignoreIf(noFiles, "openLogFile() creates a missing file, and appends to one that is there"),
  fn() {
    using temporary = new TemporaryFolder();
    const folder = temporary.path;
    const path = `${folder}/access.log`;
    for (const text of ["one\n", "two\n"]) {
      using file = openLogFile(path);
      file.writeSync(new TextEncoder().encode(text));
    }
    assertEquals(Deno.readTextFileSync(path), "one\ntwo\n");
  },
});

Deno.test({
  ...ignoreIf(noFiles, "openLogFile() appends at the end also when another program has written meanwhile"),
  fn() {
    using temporary = new TemporaryFolder();
    const folder = temporary.path;
    const path = `${folder}/access.log`;
    using file = openLogFile(path);
    Deno.writeTextFileSync(path, "another's\n");
    file.writeSync(new TextEncoder().encode("ours\n"));
    assertEquals(Deno.readTextFileSync(path), "another's\nours\n");
  },
});

Deno.test({
  ...ignoreIf(noFiles, "openLogFile() creates missing folders"),
  fn() {
    using temporary = new TemporaryFolder();
    const folder = temporary.path;
    openLogFile(`${folder}/a/b/access.log`).close();
    assert(Deno.statSync(`${folder}/a/b/access.log`).isFile);
  },
});

Deno.test({
  ...ignoreIf(noFiles, "openLogFile() follows a link to a file"),
  fn() {
    using temporary = new TemporaryFolder();
    const folder = temporary.path;
    Deno.writeTextFileSync(`${folder}/real.log`, "one\n");
    Deno.symlinkSync(`${folder}/real.log`, `${folder}/access.log`);
    using file = openLogFile(`${folder}/access.log`);
    file.writeSync(new TextEncoder().encode("two\n"));
    assertEquals(Deno.readTextFileSync(`${folder}/real.log`), "one\ntwo\n");
  },
});

Deno.test({
  ...ignoreIf(noFiles, "openLogFile() says that the path is a directory"),
  fn() {
    using temporary = new TemporaryFolder();
    const folder = temporary.path;
    assertStringIncludes(
      whyNotOpen(folder, Deno.errors.IsADirectory),
      "it is a directory; choose another with --access-log",
    );
  },
});

Deno.test({
  ...ignoreIf(noFiles, "openLogFile() says that the path is a broken link"),
  fn() {
    using temporary = new TemporaryFolder();
    const folder = temporary.path;
    for (const target of ["missing.log", "missing/real.log"]) {
      const path = `${folder}/access.log`;
      Deno.symlinkSync(`${folder}/${target}`, path);
      assertStringIncludes(whyNotOpen(path, Deno.errors.NotFound), "it is a broken link");
      Deno.removeSync(path);
    }
  },
});

Deno.test({
  ...ignoreIf(noFiles, "openLogFile() says that a file stands where a folder should be"),
  fn() {
    using temporary = new TemporaryFolder();
    const folder = temporary.path;
    Deno.writeTextFileSync(`${folder}/file`, "");
    for (const path of [`${folder}/file/access.log`, `${folder}/file/deeper/access.log`]) {
      const why = "a file stands where one of its folders should be; choose another with --access-log";
      assertStringIncludes(whyNotOpen(path, Deno.errors.NotADirectory), why);
    }
  },
});

Deno.test({
  ...ignoreIf(noFiles, "openLogFile() says that the folder is a broken link"),
  fn() {
    using temporary = new TemporaryFolder();
    const folder = temporary.path;
    Deno.symlinkSync(`${folder}/missing`, `${folder}/link`);
    const message = whyNotOpen(`${folder}/link/access.log`, Deno.errors.AlreadyExists);
    assertStringIncludes(message, `cannot create the folder ${folder}/link`);
    assertStringIncludes(message, "with --access-log");
  },
});

Deno.test({
  name: "openLogFile() names the permission that is missing",
  permissions: { read: false, write: false },
  fn() {
    const message = whyNotOpen("/var/log/echo-server/access.log", Deno.errors.NotCapable);
    assert(message.endsWith(permissionMissing("--allow-write=/var/log/echo-server")), message);
  },
});

Deno.test("openLogFile() names no permission where none but all would do", () => {
  using _ = replaceByError(
    "openSync",
    new Deno.errors.NotCapable("Requires all access, run again with the --allow-all flag"),
  );
  const message = whyNotOpen("/dev/full", Deno.errors.NotCapable);
  assertStringIncludes(message, "choose another with --access-log");
  assert(!message.includes("run again"), message);
});

Deno.test("openLogFile() names the folder to allow, wherever the path is", () => {
  using _ = replaceByError("openSync", new Deno.errors.NotCapable("Requires write access"));
  for (const [path, folder] of [["/a/b/c.log", "/a/b"], ["/c.log", "/"], ["c.log", "."], ["b/c.log", "b"]] as const) {
    const { message } = assertThrows(() => openLogFile(path), CannotStart);
    assert(message.endsWith(permissionMissing(`--allow-write=${folder}`)), message);
  }
});

Deno.test("openLogFile() finds the folder behind either slash on Windows, and gives no command that Windows has not", () => {
  const missing = new Deno.errors.NotCapable("Requires write access");
  const denied = new Deno.errors.PermissionDenied("Access is denied. (os error 5)");
  for (
    const [path, folder] of [["C:\\log\\a.log", "C:\\log"], ["C:\\a.log", "C:\\"], ["C:/log/a.log", "C:/log"], [
      "a.log",
      ".",
    ]]
  ) {
    if (path === undefined) continue;
    using _ = replaceByError("openSync", missing);
    const { message } = assertThrows(() => openLogFile(path, "windows"), CannotStart);
    assert(message.endsWith(permissionMissing(`--allow-write=${folder}`)), message);
  }
  using _open = replaceByError("openSync", denied);
  assert(!assertThrows(() => openLogFile("C:\\a.log", "windows"), CannotStart).message.includes("sudo"));
  using _missing = replaceByError("openSync", new Deno.errors.NotFound("cannot find the path (os error 3)"));
  using _mkdir = replaceByError("mkdirSync", denied);
  assert(!assertThrows(() => openLogFile("C:\\a.log", "windows"), CannotStart).message.includes("sudo"));
});

Deno.test("openLogFile() gives no permission flag for a folder with a comma, which Deno would split", () => {
  using _ = replaceByError("openSync", new Deno.errors.NotCapable("Requires write access"));
  const { message } = assertThrows(() => openLogFile("/var/log/a,b/access.log"), CannotStart);
  assertStringIncludes(message, "a comma; choose another with --access-log");
  assert(!message.includes("--allow-write"), message);
});

Deno.test("openLogFile() names the permission that is missing to create the folder", () => {
  using _missing = replaceByError("openSync", new Deno.errors.NotFound("No such file or directory (os error 2)"));
  using _ = replaceByError("mkdirSync", new Deno.errors.NotCapable("Requires write access"));
  const message = whyNotOpen("/a/b.log", Deno.errors.NotCapable);
  assert(message.endsWith(permissionMissing("--allow-write=/a")), message);
});

Deno.test("openLogFile() gives the command that makes the folder, when the system does not allow it", () => {
  using _missing = replaceByError("openSync", new Deno.errors.NotFound("No such file or directory (os error 2)"));
  using _ = replaceByError("mkdirSync", new Deno.errors.PermissionDenied("Permission denied (os error 13)"));
  const message = whyNotOpen("/var/log/echo-server/access.log", Deno.errors.PermissionDenied);
  assertStringIncludes(message, "cannot create the folder /var/log/echo-server");
  assertStringIncludes(message, 'sudo install -d -o "$(id -un)" /var/log/echo-server');
});

Deno.test("openLogFile() gives the command that makes the folder writable, when the system does not allow it", () => {
  using _ = replaceByError("openSync", new Deno.errors.PermissionDenied("Permission denied (os error 13)"));
  const message = whyNotOpen("/var/log/echo-server/access.log", Deno.errors.PermissionDenied);
  assertStringIncludes(message, 'sudo chown -R "$(id -un)" /var/log/echo-server');
});

Deno.test("openLogFile() says that the file system is read-only", () => {
  using _ = replaceByError(
    "openSync",
    Object.assign(new Error("Read-only file system (os error 30)"), { code: "EROFS" }),
  );
  assertStringIncludes(whyNotOpen("/mnt/access.log", Error), "its file system is read-only");
});

Deno.test("openLogFile() passes on in words what it does not know", () => {
  {
    using _ = replaceByError("openSync", new Error("Too many levels of symbolic links (os error 40)"));
    assertStringIncludes(whyNotOpen("/a/b.log", Error), "Too many levels of symbolic links");
  }
  using _missing = replaceByError("openSync", new Deno.errors.NotFound("No such file or directory (os error 2)"));
  using _ = replaceByError("mkdirSync", new Error("No space left on device (os error 28)"));
  assertStringIncludes(whyNotOpen("/a/b.log", Error), "No space left on device");
});

// What both say when it does not work.

Deno.test("explain() says what an error means here, or what it says itself and the way out", () => {
  const { AddrInUse, NotFound } = Deno.errors;
  const known: [new () => Error, string][] = [[AddrInUse, "taken"], [NotFound, "missing"]];
  assertEquals(explain(new NotFound("no such file"), known, "try another"), "missing");
  assertEquals(explain(new Error("odd"), known, "try another"), "odd; try another");
});

Deno.test("permissionMissing() says which flag goes where, and where it cannot go", () => {
  assertEquals(
    permissionMissing("--allow-net=0.0.0.0:80"),
    'the permission is missing, run again with --allow-net=0.0.0.0:80 before main.ts ("deno task start" cannot take it)',
  );
});
