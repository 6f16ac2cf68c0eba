/**
 * Whether this test run was granted what a test needs: a test that lacks a permission is ignored, not failed.
 *
 * @module
 */

/**
 * Asks without prompting.
 *
 * @param descriptors The permissions that a test needs.
 * @returns Whether all of them are granted.
 */
export function granted(...descriptors: Deno.PermissionDescriptor[]): boolean {
  return descriptors.every((descriptor) => Deno.permissions.querySync(descriptor).state === "granted");
}

/**
 * Names a test, and ignores it where something is missing.
 *
 * @param missing What is missing; empty if nothing is.
 * @param name The test's name.
 * @returns What to hand to `Deno.test`. The name of an ignored test says why.
 */
export function unless(missing: string, name: string): { name: string; ignore: boolean } {
  return { name: missing === "" ? name : `${name} (ignored: ${missing})`, ignore: missing !== "" };
}
