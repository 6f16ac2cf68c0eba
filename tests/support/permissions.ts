/**
 * Whether this test run has the permissions that a test needs: a test that lacks one is ignored, not failed.
 *
 * @module
 */

/**
 * Queries permissions without a prompt.
 *
 * @param descriptors The permissions that a test needs.
 * @returns Whether all of them are granted.
 */
export function hasPermissions(...descriptors: Deno.PermissionDescriptor[]): boolean {
  return descriptors.every((descriptor) => Deno.permissions.querySync(descriptor).state === "granted");
}

/** What keeps this test run from starting the program, connecting to it and reading its files; empty if nothing does. */
export const cannotRun: string = Deno.build.os === "windows"
  ? "needs a Unix" // its signals, and sh
  : hasPermissions({ name: "run" }, { name: "net" }, { name: "read" }, { name: "write" })
  ? ""
  : "permissions are missing";

/** Whether nothing keeps it from that. */
export const canRun: boolean = cannotRun === "";

/**
 * Names a test, and ignores it if something is missing.
 *
 * @param missing What is missing; empty if nothing is.
 * @param name The test's name.
 * @returns A part of the argument of `Deno.test`. The name of an ignored test says why it is ignored.
 */
export function ignoreIf(missing: string, name: string): { name: string; ignore: boolean } {
  return { name: missing === "" ? name : `${name} (ignored: ${missing})`, ignore: missing !== "" };
}
