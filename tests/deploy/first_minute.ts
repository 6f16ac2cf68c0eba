/**
 * What a platform has to pass: the program is started, echoes, and is stopped.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Program, type StartOptions } from "../support/program.ts";
import { equal, pattern, readToEof, roundTrip, writeAll } from "../support/tcp_client.ts";

/** Clients that are connected at the same time. */
const CLIENTS = 300;

/**
 * Starts the program, echoes messages one after the other and many at once, drains it with a client in flight, and compares
 * its log and its exit status.
 *
 * @param options How it is started.
 * @param sizes The messages' sizes, in bytes.
 */
export async function firstMinute(options: StartOptions, sizes: number[]): Promise<void> {
  await using program = await Program.start(options);
  for (const size of sizes) {
    const message = pattern(size, size);
    assert(equal(await roundTrip(program.address, message), message), `${size} bytes came back changed`);
  }
  const messages = Array.from({ length: CLIENTS }, (_, seed) => pattern(1000, seed));
  const echoes = await Promise.all(messages.map((message) => roundTrip(program.address, message)));
  assertEquals(echoes.findIndex((echo, i) => !equal(echo, pattern(1000, i))), -1);

  using conn = await Deno.connect(program.address);
  await writeAll(conn, pattern(7));
  await program.statusWhen(({ active }) => active === 1);
  program.kill("SIGTERM");
  await program.line(/draining/);
  await conn.closeWrite();
  assertEquals(await readToEof(conn), pattern(7));
  assertEquals(await program.exit(), 0);
  assertEquals(program.lines().map(({ bytes }) => bytes), [...sizes, ...messages.map(() => 1000), 7]);
  assertEquals(program.matches(/warning|error|panic/i), []);
}
