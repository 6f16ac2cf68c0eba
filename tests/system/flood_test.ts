import { assertEquals, assertLess } from "@std/assert";
import { BusyClients } from "../support/busy_clients.ts";
import { cannotRun, ignoreIf } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { roundTrip } from "../support/tcp_client.ts";

const missing = cannotRun;

/** Clients that send without pause: more than the 128 operations that Deno lets succeed at a time. */
const BUSY = 400;

/** Clients served beside them, one after the other. */
const COUNT = 60;

/** Clients before these: until then the busy ones fill the socket buffers, and the server warms up. */
const WARM_UP = 10;

Deno.test(
  ignoreIf(missing, `main.ts serves each of ${COUNT} clients soon beside ${BUSY} that send without pause`),
  async () => {
    await using program = await Program.start();
    await using _ = await BusyClients.start(program.address, BUSY);
    await program.statusWhen(({ active }) => active === BUSY);
    const message = new TextEncoder().encode("hello");
    const took: number[] = [];
    for (let i = 0; i < WARM_UP + COUNT; i++) {
      const start = performance.now();
      assertEquals(await roundTrip(program.address, message), message);
      took.push(performance.now() - start);
    }
    took.splice(0, WARM_UP);
    took.sort((a, b) => a - b);
    const [median = Infinity, worst = Infinity] = [took[COUNT / 2], took.at(-1)];
    // On a busy machine all take longer. Without the fair queue the worst takes 20 to 100 times as long as the median.
    assertLess(worst, Math.max(500, 10 * median), `of ${COUNT} clients: median ${median} ms, worst ${worst} ms`);
    assertEquals(program.lines().length, WARM_UP + COUNT);
  },
);
