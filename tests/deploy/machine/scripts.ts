/**
 * Pieces of the scripts that are run in a machine.
 *
 * @module
 */

/** Sends a message as a client, and prints the reply. */
export const echo = (message: string, address = "127.0.0.1") => `printf ${message} | nc -N -w 10 ${address} 4000`;

/** Runs `crowd.ts`. */
export const crowd = (args: string) =>
  `env DENO_NO_UPDATE_CHECK=1 deno run -A --no-config --no-lock tests/deploy/machine/crowd.ts ${args}`;

/** Retries a command until it succeeds, for at most a minute. */
export const retry = (command: string) => `timeout 60 sh -c 'until ${command}; do sleep 0.1; done'`;
