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

/** Whether this test run may start the program, connect to it and read its files. */
export const canRun: boolean = hasPermissions({ name: "run" }, { name: "net" }, { name: "read" }, { name: "write" });

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
