/**
 * Pieces of the scripts that are run in a machine.
 *
 * @module
 */

/** Is a client with a message, and prints what comes back. */
export const echo = (message: string, address = "127.0.0.1") => `printf ${message} | nc -N -w 10 ${address} 4000`;

/** Runs `crowd.ts`. */
export const crowd = (args: string) =>
  `env DENO_NO_UPDATE_CHECK=1 deno run -A --no-config --no-lock tests/deploy/machine/crowd.ts ${args}`;

/** Runs a command again and again until it succeeds, for a minute. */
export const retry = (command: string) => `timeout 60 sh -c 'until ${command}; do sleep 0.1; done'`;
