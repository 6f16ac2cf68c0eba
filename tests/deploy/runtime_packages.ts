/**
 * The npm packages that the server needs when it runs.
 *
 * @module
 */

import { output, ROOT } from "../support/commands.ts";

/** What `deno info --json` says of a module. */
interface Info {
  /** The modules that are imported, directly or not. An import of types alone has no `code`. */
  modules: { dependencies?: { code?: { specifier: string } }[] }[];
  /** All packages in the lock file. */
  npmPackages: Record<string, { dependencies: string[] }>;
}

/** The npm packages that the server imports at run time, directly or not. */
export async function runtimePackages(): Promise<string[]> {
  const info = await output(Deno.execPath(), "info", "--json", `${ROOT}main.ts`);
  const { modules, npmPackages }: Info = JSON.parse(info);
  const direct = modules.flatMap(({ dependencies = [] }) => dependencies.map(({ code }) => code?.specifier ?? ""));
  const found = new Set(Object.keys(npmPackages).filter((id) => direct.some((one) => nameOf(one) === nameOf(id))));
  for (const id of found) for (const dependency of npmPackages[id]?.dependencies ?? []) found.add(dependency);
  return [...found].map(nameOf).sort();
}

/** The name in a specifier such as `npm:@scope/name@^1.0.0`, or in a package's id. */
function nameOf(specifier: string): string {
  return specifier.replace(/^npm:/, "").replace(/(?<=.)@.*$/, "");
}
