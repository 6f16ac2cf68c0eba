/**
 * Opens the access log's file, or says why it cannot be opened.
 *
 * @module
 */

import { CannotStart, explain, permissionMissing } from "./cannot_start.ts";

/** A system that Deno runs on. */
export type Os = typeof Deno.build.os;

/**
 * Opens a file to append to. A missing file is created, and so is a missing folder.
 *
 * @param path Where the file is.
 * @param os The system that this is.
 * @returns The file.
 * @throws {CannotStart} If it cannot be opened.
 */
export function openLogFile(path: string, os: Os = Deno.build.os): Deno.FsFile {
  try {
    return append(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cannotOpen(path, cause, os);
  }
  const folder = folderOf(path, os);
  try {
    Deno.mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw cannotCreate(folder, path, cause, os);
  }
  try {
    return append(path);
  } catch (cause) {
    throw cannotOpen(path, cause, os);
  }
}

function append(path: string): Deno.FsFile {
  return Deno.openSync(path, { append: true, create: true });
}

function folderOf(path: string, os: Os): string {
  const slash = Math.max(path.lastIndexOf("/"), os === "windows" ? path.lastIndexOf("\\") : -1);
  const folder = path.slice(0, Math.max(slash, 0));
  if (slash < 0) return ".";
  return folder === "" || folder.endsWith(":") ? path.slice(0, slash + 1) : folder; // of a root, the slash is its name
}

const CHOOSE = "choose another with --access-log";

function permissionHint(folder: string): string {
  // Deno takes a comma for the end of a path, and has no way to write one.
  if (folder.includes(",")) return `Deno cannot be given a folder with a comma; ${CHOOSE}`;
  return permissionMissing(`--allow-write=${folder}`);
}

function cannotCreate(folder: string, path: string, cause: unknown, os: Os): CannotStart {
  const { AlreadyExists, NotADirectory, NotCapable, PermissionDenied } = Deno.errors;
  const inPlace = `a file is in its place; move that away or ${CHOOSE}`;
  const create = os === "windows" ? CHOOSE : `create it with: sudo install -d -o "$(id -un)" ${folder}`;
  const why = explain(cause, [
    [NotCapable, permissionHint(folder)],
    [PermissionDenied, `the system does not allow it; ${create}`],
    [AlreadyExists, inPlace],
    [NotADirectory, inPlace],
  ], CHOOSE);
  return new CannotStart(`cannot create the folder ${folder} for the access log ${path}: ${why}`, { cause });
}

function cannotOpen(path: string, cause: unknown, os: Os): CannotStart {
  const { IsADirectory, NotADirectory, NotCapable, NotFound, PermissionDenied } = Deno.errors;
  const folder = folderOf(path, os);
  const allow = os === "windows" ? CHOOSE : `allow it with: sudo chown -R "$(id -un)" ${folder}`;
  const special = cause instanceof NotCapable && cause.message.includes("--allow-all");
  const readOnly = cause instanceof Error && "code" in cause && cause.code === "EROFS";
  const why = special
    ? `Deno lets only a script with every permission write to such a file; ${CHOOSE}`
    : readOnly
    ? `its file system is read-only; mount it for writing or ${CHOOSE}`
    : explain(cause, [
      [NotCapable, permissionHint(folder)],
      [PermissionDenied, `the system does not let this user write it; ${allow}`],
      [IsADirectory, `it is a directory; ${CHOOSE}`],
      [NotFound, `it is a broken link; mend or remove it, or ${CHOOSE}`],
      [NotADirectory, `a file stands where one of its folders should be; ${CHOOSE}`],
    ], CHOOSE);
  return new CannotStart(`cannot open the access log ${path}: ${why}`, { cause });
}
