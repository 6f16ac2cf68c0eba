/**
 * Opens the access log's file, or says why it cannot be opened.
 *
 * @module
 */

import { CannotStart } from "./cannot_start.ts";
import { messageOf } from "./diagnostics.ts";

/**
 * Opens a file to append to. A missing file is created, and so is a missing folder.
 *
 * @param path Where the file is.
 * @returns The file.
 * @throws {CannotStart} If it cannot be opened.
 */
export function openLogFile(path: string): Deno.FsFile {
  try {
    return append(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cannotOpen(path, cause);
  }
  const folder = folderOf(path);
  try {
    Deno.mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw cannotCreate(folder, path, cause);
  }
  try {
    return append(path);
  } catch (cause) {
    throw cannotOpen(path, cause);
  }
}

function append(path: string): Deno.FsFile {
  return Deno.openSync(path, { append: true, create: true });
}

function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : slash === 0 ? "/" : path.slice(0, slash);
}

function cannotCreate(folder: string, path: string, cause: unknown): CannotStart {
  let why = `${messageOf(cause)}; choose another with --access-log`;
  if (cause instanceof Deno.errors.NotCapable) {
    why = `the permission is missing, run again with --allow-write=${folder}`;
  } else if (cause instanceof Deno.errors.PermissionDenied) {
    why = `the system does not allow it; create it with: sudo install -d -o "$(id -un)" ${folder}`;
  } else if (cause instanceof Deno.errors.AlreadyExists || cause instanceof Deno.errors.NotADirectory) {
    why = "a file is in its place; move that away or choose another folder with --access-log";
  }
  return new CannotStart(`cannot create the folder ${folder} for the access log ${path}: ${why}`, { cause });
}

function cannotOpen(path: string, cause: unknown): CannotStart {
  const folder = folderOf(path);
  let why = `${messageOf(cause)}; choose another with --access-log`;
  if (cause instanceof Deno.errors.NotCapable && cause.message.includes("--allow-all")) {
    why = "Deno lets only a script with every permission write to such a file; name a regular one with --access-log";
  } else if (cause instanceof Deno.errors.NotCapable) {
    why = `the permission is missing, run again with --allow-write=${folder}`;
  } else if (cause instanceof Deno.errors.PermissionDenied) {
    why = `the system does not let this user write it; allow it with: sudo chown -R "$(id -un)" ${folder}`;
  } else if (cause instanceof Deno.errors.IsADirectory) {
    why = "it is a directory; name a file with --access-log";
  } else if (cause instanceof Deno.errors.NotFound) {
    why = "it is a broken link; mend or remove it, or name another file with --access-log";
  } else if (cause instanceof Deno.errors.NotADirectory) {
    why = "a file stands where one of its folders should be; name another with --access-log";
  } else if (code(cause) === "EROFS") {
    why = "its file system is read-only; mount it for writing or name another file with --access-log";
  }
  return new CannotStart(`cannot open the access log ${path}: ${why}`, { cause });
}

function code(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
