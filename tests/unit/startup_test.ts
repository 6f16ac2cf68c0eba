import { assert, assertEquals, assertInstanceOf, assertStringIncludes, assertThrows } from "@std/assert";
import { CannotStart, permissionMissing } from "../../lib/cannot_start.ts";
import { openLogFile } from "../../lib/log_file.ts";
import { granted, unless } from "../support/permissions.ts";

const noFiles = granted({ name: "read" }, { name: "write" }) ? "" : "permissions are missing";

/** Runs a test in a temporary folder of its own. */
async function inFolder(test: (folder: string) => void | Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Opens what cannot be opened. Returns the message, having checked that it is one line and names the path. */
function reason(path: string, cause: new (message: string) => Error): string {
  const error = assertThrows(() => openLogFile(path), CannotStart);
  assertInstanceOf(error.cause, cause);
  assertStringIncludes(error.message, path);
  assert(!error.message.includes("\n"), error.message);
  return error.message;
}

/** Has one of Deno's functions throw, for what cannot be caused for real by every user. */
function failing(name: "openSync" | "mkdirSync", error: Error): Disposable {
  const original = Deno[name];
  const replace = (fn: unknown) => Object.defineProperty(Deno, name, { value: fn, configurable: true, writable: true });
  replace(() => {
    throw error;
  });
  return { [Symbol.dispose]: () => void replace(original) };
}

Deno.test({
  ...unless(noFiles, "openLogFile() creates a missing file, and appends to one that is there"),
  fn: () =>
    inFolder((folder) => {
      const path = `${folder}/access.log`;
      for (const text of ["one\n", "two\n"]) {
        using file = openLogFile(path);
        file.writeSync(new TextEncoder().encode(text));
      }
      assertEquals(Deno.readTextFileSync(path), "one\ntwo\n");
    }),
});

Deno.test({
  ...unless(noFiles, "openLogFile() appends at the end also when another program has written meanwhile"),
  fn: () =>
    inFolder((folder) => {
      const path = `${folder}/access.log`;
      using file = openLogFile(path);
      Deno.writeTextFileSync(path, "another's\n");
      file.writeSync(new TextEncoder().encode("ours\n"));
      assertEquals(Deno.readTextFileSync(path), "another's\nours\n");
    }),
});

Deno.test({
  ...unless(noFiles, "openLogFile() creates missing folders"),
  fn: () =>
    inFolder((folder) => {
      openLogFile(`${folder}/a/b/access.log`).close();
      assert(Deno.statSync(`${folder}/a/b/access.log`).isFile);
    }),
});

Deno.test({
  ...unless(noFiles, "openLogFile() follows a link to a file"),
  fn: () =>
    inFolder((folder) => {
      Deno.writeTextFileSync(`${folder}/real.log`, "one\n");
      Deno.symlinkSync(`${folder}/real.log`, `${folder}/access.log`);
      using file = openLogFile(`${folder}/access.log`);
      file.writeSync(new TextEncoder().encode("two\n"));
      assertEquals(Deno.readTextFileSync(`${folder}/real.log`), "one\ntwo\n");
    }),
});

Deno.test({
  ...unless(noFiles, "openLogFile() says that the path is a directory"),
  fn: () =>
    inFolder((folder) => {
      assertStringIncludes(
        reason(folder, Deno.errors.IsADirectory),
        "it is a directory; choose another with --access-log",
      );
    }),
});

Deno.test({
  ...unless(noFiles, "openLogFile() says that the path is a broken link"),
  fn: () =>
    inFolder((folder) => {
      for (const target of ["missing.log", "missing/real.log"]) {
        const path = `${folder}/access.log`;
        Deno.symlinkSync(`${folder}/${target}`, path);
        assertStringIncludes(reason(path, Deno.errors.NotFound), "it is a broken link");
        Deno.removeSync(path);
      }
    }),
});

Deno.test({
  ...unless(noFiles, "openLogFile() says that a file stands where a folder should be"),
  fn: () =>
    inFolder((folder) => {
      Deno.writeTextFileSync(`${folder}/file`, "");
      for (const path of [`${folder}/file/access.log`, `${folder}/file/deeper/access.log`]) {
        const why = "a file stands where one of its folders should be; choose another with --access-log";
        assertStringIncludes(reason(path, Deno.errors.NotADirectory), why);
      }
    }),
});

Deno.test({
  ...unless(noFiles, "openLogFile() says that the folder is a broken link"),
  fn: () =>
    inFolder((folder) => {
      Deno.symlinkSync(`${folder}/missing`, `${folder}/link`);
      const message = reason(`${folder}/link/access.log`, Deno.errors.AlreadyExists);
      assertStringIncludes(message, `cannot create the folder ${folder}/link`);
      assertStringIncludes(message, "with --access-log");
    }),
});

Deno.test({
  name: "openLogFile() names the permission that is missing",
  permissions: { read: false, write: false },
  fn() {
    const message = reason("/var/log/echo-server/access.log", Deno.errors.NotCapable);
    assert(message.endsWith(permissionMissing("--allow-write=/var/log/echo-server")), message);
  },
});

Deno.test("openLogFile() names no permission where none but all would do", () => {
  using _ = failing("openSync", new Deno.errors.NotCapable("Requires all access, run again with the --allow-all flag"));
  const message = reason("/dev/full", Deno.errors.NotCapable);
  assertStringIncludes(message, "choose another with --access-log");
  assert(!message.includes("run again"), message);
});

Deno.test("openLogFile() names the folder to allow, wherever the path is", () => {
  using _ = failing("openSync", new Deno.errors.NotCapable("Requires write access"));
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
    using _ = failing("openSync", missing);
    const { message } = assertThrows(() => openLogFile(path, "windows"), CannotStart);
    assert(message.endsWith(permissionMissing(`--allow-write=${folder}`)), message);
  }
  using _open = failing("openSync", denied);
  assert(!assertThrows(() => openLogFile("C:\\a.log", "windows"), CannotStart).message.includes("sudo"));
  using _missing = failing("openSync", new Deno.errors.NotFound("cannot find the path (os error 3)"));
  using _mkdir = failing("mkdirSync", denied);
  assert(!assertThrows(() => openLogFile("C:\\a.log", "windows"), CannotStart).message.includes("sudo"));
});

Deno.test("openLogFile() gives no permission flag for a folder with a comma, which Deno would split", () => {
  using _ = failing("openSync", new Deno.errors.NotCapable("Requires write access"));
  const { message } = assertThrows(() => openLogFile("/var/log/a,b/access.log"), CannotStart);
  assertStringIncludes(message, "a comma; choose another with --access-log");
  assert(!message.includes("--allow-write"), message);
});

Deno.test("openLogFile() names the permission that is missing to create the folder", () => {
  using _missing = failing("openSync", new Deno.errors.NotFound("No such file or directory (os error 2)"));
  using _ = failing("mkdirSync", new Deno.errors.NotCapable("Requires write access"));
  const message = reason("/a/b.log", Deno.errors.NotCapable);
  assert(message.endsWith(permissionMissing("--allow-write=/a")), message);
});

Deno.test("openLogFile() gives the command that makes the folder, when the system does not allow it", () => {
  using _missing = failing("openSync", new Deno.errors.NotFound("No such file or directory (os error 2)"));
  using _ = failing("mkdirSync", new Deno.errors.PermissionDenied("Permission denied (os error 13)"));
  const message = reason("/var/log/echo-server/access.log", Deno.errors.PermissionDenied);
  assertStringIncludes(message, "cannot create the folder /var/log/echo-server");
  assertStringIncludes(message, 'sudo install -d -o "$(id -un)" /var/log/echo-server');
});

Deno.test("openLogFile() gives the command that makes the folder writable, when the system does not allow it", () => {
  using _ = failing("openSync", new Deno.errors.PermissionDenied("Permission denied (os error 13)"));
  const message = reason("/var/log/echo-server/access.log", Deno.errors.PermissionDenied);
  assertStringIncludes(message, 'sudo chown -R "$(id -un)" /var/log/echo-server');
});

Deno.test("openLogFile() says that the file system is read-only", () => {
  using _ = failing("openSync", Object.assign(new Error("Read-only file system (os error 30)"), { code: "EROFS" }));
  assertStringIncludes(reason("/mnt/access.log", Error), "its file system is read-only");
});

Deno.test("openLogFile() passes on in words what it does not know", () => {
  {
    using _ = failing("openSync", new Error("Too many levels of symbolic links (os error 40)"));
    assertStringIncludes(reason("/a/b.log", Error), "Too many levels of symbolic links");
  }
  using _missing = failing("openSync", new Deno.errors.NotFound("No such file or directory (os error 2)"));
  using _ = failing("mkdirSync", new Error("No space left on device (os error 28)"));
  assertStringIncludes(reason("/a/b.log", Error), "No space left on device");
});
