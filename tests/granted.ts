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
