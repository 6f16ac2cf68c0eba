import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { BACKLOG, formatAddress, openListener, openLogFile, StartupError } from "../../lib/startup.ts";
import { succeeds } from "../support/commands.ts";
import { cannotRun, hasPermissions, ignoreIf } from "../support/permissions.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { settles } from "../support/wait.ts";

const noNet = hasPermissions({ name: "net" }) ? "" : "permissions are missing";
const noFiles = hasPermissions({ name: "read" }, { name: "write" }) ? "" : "permissions are missing";

const { AddrInUse, AddrNotAvailable, NotCapable, NotFound, PermissionDenied } = Deno.errors;

/** Has one of Deno's functions throw, for what not every user can cause. */
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

/** Has Deno say that it runs on another system. */
function on(os: typeof Deno.build.os): Disposable {
  const original = Deno.build;
  const set = (value: unknown) => Object.defineProperty(Deno, "build", { value, configurable: true, writable: true });
  set({ ...original, os });
  return { [Symbol.dispose]: () => void set(original) };
}

/** Opens what cannot be opened. Returns what the one line of the message says after `what`. */
function startupError(open: () => unknown, what: string, cause: new (message: string) => Error): string {
  const error = assertThrows(open, StartupError);
  assertInstanceOf(error.cause, cause);
  assert(!error.message.includes("\n"), error.message);
  assert(error.message.startsWith(`${what}: `), error.message);
  return error.message.slice(what.length + 2);
}

// The listener.

function listenError(hostname: string, port: number, cause: new (message: string) => Error, reusePort = false): string {
  const open = () => openListener(hostname, port, reusePort);
  return startupError(open, `cannot listen on ${formatAddress({ hostname, port })}`, cause);
}

const TAKEN = "the port is taken; choose another with --port, or find the process with: ss -ltnp";

Deno.test({
  ...ignoreIf(noNet, "openListener() listens on a free port when the port is 0"),
  async fn() {
    using listener = openListener("127.0.0.1", 0, false);
    assertEquals(listener.addr.hostname, "127.0.0.1");
    assertNotEquals(listener.addr.port, 0);
    using _client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
    using _conn = await listener.accept();
  },
});

Deno.test("openListener() asks for a backlog of BACKLOG connections", () => {
  for (const reusePort of [false, true]) {
    let options: Deno.TcpListenOptions | undefined;
    using _ = replaceByError("listen", new Error("that was all"), (asked) => void (options = asked));
    assertThrows(() => openListener("127.0.0.1", 4000, reusePort));
    assertEquals(options, { hostname: "127.0.0.1", port: 4000, reusePort, tcpBacklog: BACKLOG });
  }
});

Deno.test({
  ...ignoreIf(
    noNet || (Deno.build.os === "linux" ? "" : "needs Linux"),
    "openListener() shares the port only if all servers on it ask for that",
  ),
  fn() {
    using first = openListener("127.0.0.1", 0, true);
    const { port } = first.addr;
    {
      using second = openListener("127.0.0.1", port, true);
      assertEquals(second.addr, first.addr);
    }
    assertEquals(listenError("127.0.0.1", port, AddrInUse), TAKEN);
    using alone = openListener("127.0.0.1", 0, false);
    assertEquals(listenError("127.0.0.1", alone.addr.port, AddrInUse, true), TAKEN);
  },
});

Deno.test({
  ...ignoreIf(noNet, "openListener() says that no interface has the address"),
  fn() {
    // Of a range that is kept for documentation (RFC 5737).
    const hint = "no interface of this machine has that address; choose another with --hostname";
    assertEquals(listenError("192.0.2.1", 4000, AddrNotAvailable), hint);
  },
});

Deno.test({
  name: "openListener() names the permission that is missing, an IPv6 address as the flag takes it",
  permissions: { net: false },
  fn() {
    // Without quotes zsh takes brackets for a pattern that matches no file.
    for (
      const [hostname, flag] of [
        ["127.0.0.1", "--allow-net=127.0.0.1:4000"],
        ["::1", "'--allow-net=[::1]:4000'"],
      ] as const
    ) {
      const hint = `the permission is missing; run again with ${flag} before main.ts`;
      assertEquals(listenError(hostname, 4000, NotCapable), hint);
    }
  },
});

Deno.test("openListener() says that this user may not use the port", () => {
  using _ = replaceByError("listen", new PermissionDenied("Permission denied (os error 13)"));
  const hint = "this user may not use the port; choose one above 1023 with --port";
  assertEquals(listenError("127.0.0.1", 80, PermissionDenied), hint);
});

Deno.test("openListener() gives a hint that works on Windows when the port is taken there", () => {
  using _os = on("windows");
  using _ = replaceByError("listen", new AddrInUse("Address already in use (os error 10048)"));
  const hint = "the port is taken; choose another with --port, or find the process with: netstat -ano";
  assertEquals(listenError("127.0.0.1", 80, AddrInUse), hint);
});

Deno.test({
  ...ignoreIf(noNet, "openListener() passes on the message of any other error"),
  fn: () => void assertStringIncludes(listenError("no such host", 4000, Error), "invalid host 'no such host'"),
});

Deno.test("formatAddress() puts an IPv6 address in brackets, and no other", () => {
  assertEquals(formatAddress({ hostname: "0.0.0.0", port: 4000 }), "0.0.0.0:4000");
  assertEquals(formatAddress({ hostname: "localhost", port: 1 }), "localhost:1");
  assertEquals(formatAddress({ hostname: "::", port: 65_535 }), "[::]:65535");
});

Deno.test("formatAddress() shows an IPv4 client of an IPv6 listener by its IPv4 address", () => {
  assertEquals(formatAddress({ hostname: "::ffff:127.0.0.1", port: 4000 }), "127.0.0.1:4000");
  assertEquals(formatAddress({ hostname: "::ffff:7f00:1:2", port: 4000 }), "[::ffff:7f00:1:2]:4000");
});

// The access log's file.

function openError(path: string, cause: new (message: string) => Error): string {
  return startupError(() => openLogFile(path), `cannot open the access log ${path}`, cause);
}

const missing = new NotFound("No such file or directory (os error 2)");
const denied = new PermissionDenied("Permission denied (os error 13)");

Deno.test({
  ...ignoreIf(noFiles, "openLogFile() creates a missing file in missing folders, and appends to an existing one"),
  fn() {
    using folder = new TemporaryFolder();
    const path = `${folder.path}/a/b/access.log`;
    for (const text of ["one\n", "two\n"]) {
      const file = openLogFile(path);
      file.write(new TextEncoder().encode(text));
      file.close();
    }
    assertEquals(Deno.readTextFileSync(path), "one\ntwo\n");
  },
});

Deno.test({
  ...ignoreIf(noFiles, "openLogFile() appends after what another program has written meanwhile"),
  fn() {
    using folder = new TemporaryFolder();
    const path = `${folder.path}/access.log`;
    const file = openLogFile(path);
    Deno.writeTextFileSync(path, "another's\n");
    file.write(new TextEncoder().encode("ours\n"));
    file.close();
    assertEquals(Deno.readTextFileSync(path), "another's\nours\n");
  },
});

Deno.test({
  ...ignoreIf(
    noFiles || (Deno.build.os === "windows" ? "needs a Unix" : ""),
    "openLogFile() passes on the message of any other error",
  ),
  fn() {
    const { AlreadyExists, IsADirectory, NotADirectory } = Deno.errors;
    using folder = new TemporaryFolder();
    const root = folder.path;
    Deno.writeTextFileSync(`${root}/file`, "");
    Deno.symlinkSync(`${root}/missing/access.log`, `${root}/broken.log`);
    Deno.symlinkSync(`${root}/missing`, `${root}/link`);
    const errors: [path: string, cause: new () => Error, message: string][] = [
      [root, IsADirectory, "Is a directory (os error 21)"],
      [`${root}/broken.log`, NotFound, "No such file or directory (os error 2)"],
      [`${root}/file/access.log`, NotADirectory, "Not a directory (os error 20)"],
      [`${root}/link/access.log`, AlreadyExists, "File exists (os error 17)"],
    ];
    for (const [path, cause, message] of errors) {
      const said = openError(path, cause);
      if (Deno.build.os === "linux") assert(said.startsWith(message), said);
    }
  },
});

Deno.test({
  ...ignoreIf(
    cannotRun,
    "openLogFile() refuses a pipe, and closes it again",
  ),
  async fn() {
    using folder = new TemporaryFolder();
    const path = `${folder.path}/access.log`;
    assert(succeeds("mkfifo", path));
    await using reader = new Deno.Command("cat", { args: [path], stdin: "null", stdout: "null" }).spawn();
    assertEquals(
      openError(path, Error),
      "it is not a regular file; choose another with --access-log, or - for stdout",
    );
    assert((await settles(reader.status, "the pipe's last writer to close it")).success);
  },
});

Deno.test({
  ...ignoreIf(
    noFiles || (Deno.build.os === "windows" ? "needs a Unix" : ""),
    "openLogFile() takes /dev/null, in which there is nothing to wait for",
  ),
  fn: () => openLogFile("/dev/null").close(),
});

Deno.test({
  name: "openLogFile() names the permission that is missing",
  permissions: { read: false, write: false },
  fn() {
    const hint = "the permission is missing; run again with --allow-write=/var/log/echo-server before main.ts";
    assertEquals(openError("/var/log/echo-server/access.log", NotCapable), hint);
  },
});

Deno.test({
  ...ignoreIf(
    noFiles || (Deno.build.os === "windows" ? "needs a Unix" : ""),
    "openLogFile() points from a device to standard output",
  ),
  permissions: { read: false, write: ["/dev/"] },
  fn() {
    const hint = "Deno lets only a script with all permissions write to a device; for stdout use --access-log=-";
    assertEquals(openError("/dev/stdout", NotCapable), hint);
  },
});

Deno.test("openLogFile() takes - for standard output, without a permission", () => {
  const file = openLogFile("-");
  file.close(); // does nothing
  assertEquals(openLogFile("-"), file);
});

Deno.test("openLogFile() names the folder to allow, wherever the path is", () => {
  const folders: [path: string, folder: string][] = [
    ["/a/b/c.log", "/a/b"],
    ["/c.log", "/"],
    ["c.log", "."],
    ["b/c.log", "b"],
  ];
  using _ = replaceByError("openSync", new NotCapable("Requires write access"));
  const check = ([path, folder]: [path: string, folder: string]) =>
    assertStringIncludes(openError(path, NotCapable), ` --allow-write=${folder} before `);
  folders.forEach(check);
  using _os = on("windows");
  folders.push(["C:\\log\\a.log", "C:\\log"], ["C:/log/a.log", "C:/log"]);
  folders.forEach(check);
});

Deno.test("openLogFile() gives the command that makes the folder writable, missing or not", () => {
  const hint = "this user may not write there; choose your own file with --access-log, or try deno task dev, or run: " +
    'sudo install -d -o "$(id -un)" /var/log/echo-server';
  using _os = on("linux");
  {
    using _open = replaceByError("openSync", denied);
    assertEquals(openError("/var/log/echo-server/access.log", PermissionDenied), hint);
  }
  using _open = replaceByError("openSync", missing);
  using _mkdir = replaceByError("mkdirSync", denied);
  assertEquals(openError("/var/log/echo-server/access.log", PermissionDenied), hint);
});

Deno.test("openLogFile() gives no command of a Unix on Windows when this user may not write there", () => {
  using _os = on("windows");
  using _open = replaceByError("openSync", denied);
  const hint = "this user may not write there; choose your own file with --access-log, or try deno task dev";
  assertEquals(openError("C:\\log\\access.log", PermissionDenied), hint);
});
