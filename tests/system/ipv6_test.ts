/** IPv6: beside IPv4, alone, and not at all. */

import { assertEquals, assertRejects } from "@std/assert";
import { DEFAULTS } from "../../lib/options.ts";
import { canRun, ignoreIf } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { pattern, roundTrip, writeAll } from "../support/tcp_client.ts";

const missing = !canRun ? "permissions are missing" : hasIpv6() ? "" : "needs IPv6";

Deno.test({
  ...ignoreIf(missing, "main.ts --hostname=:: serves clients over IPv6 and IPv4"),
  async fn() {
    await using program = await Program.start({ hostname: "::" });
    const { port } = program.address;
    for (const [i, hostname] of ["::1", "127.0.0.1"].entries()) {
      assertEquals(await roundTrip({ hostname, port }, pattern(i + 5)), pattern(i + 5));
    }
    assertEquals(program.log(), "[client 1]: received 5 bytes\n[client 2]: received 6 bytes\n");
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 0);
  },
});

Deno.test({
  ...ignoreIf(missing, "main.ts --hostname=:: reports a client's address in the family that the client used"),
  async fn() {
    await using program = await Program.start({ hostname: "::", flags: ["--max-message=2"] });
    const { port } = program.address;
    for (const [hostname, reported] of [["::1", "[::1]"], ["127.0.0.1", "127.0.0.1"]] as const) {
      using conn = await Deno.connect({ hostname, port });
      await writeAll(conn, pattern(3));
      await program.line(
        RegExp(` \\(${RegExp.escape(reported)}:${conn.localAddr.port}\\) dropped after 3 bytes: message: `),
      );
    }
  },
});

Deno.test({
  ...ignoreIf(missing, "main.ts --hostname=::1 serves clients over IPv6 and refuses those over IPv4"),
  async fn() {
    await using program = await Program.start({ hostname: "::1" });
    const { port } = program.address;
    assertEquals(await roundTrip({ hostname: "::1", port }, pattern(5)), pattern(5));
    await assertRejects(() => Deno.connect({ hostname: "127.0.0.1", port }), Deno.errors.ConnectionRefused);
  },
});

Deno.test({
  ...ignoreIf(missing, "main.ts on the default address, 0.0.0.0, refuses clients over IPv6"),
  async fn() {
    await using program = await Program.start({ hostname: DEFAULTS.hostname });
    const { port } = program.address;
    assertEquals(await roundTrip({ hostname: "127.0.0.1", port }, pattern(5)), pattern(5));
    await assertRejects(() => Deno.connect({ hostname: "::1", port }), Deno.errors.ConnectionRefused);
  },
});

/** Whether the machine has an IPv6 loopback address. */
function hasIpv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}
