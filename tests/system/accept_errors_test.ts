/** How the program handles what accept4(2) fails with, whichever error it is. strace(1) makes it fail. */

import { assertEquals, assertMatch } from "@std/assert";
import { succeeds } from "../support/commands.ts";
import { cannotRun, ignoreIf } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { pattern, roundTrip } from "../support/tcp_client.ts";

/** Accepts that fail. */
const COUNT = 3;

const missing = cannotRun || (canTrace() ? "" : "needs strace");

/** Descriptors or memory have run out: the connection stays in the backlog. */
const EXHAUSTION = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"];

/** All others, among them those that accept(2) tells to retry after: they mean one connection. */
const OTHERS = [
  ...["ENETDOWN", "EPROTO", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH"],
  ...["ENETRESET", "ESHUTDOWN", "ECONNABORTED", "EINTR", "EINVAL", "EPERM"],
];

/** A command that executes its arguments such that their first accepts fail. */
function failing(error: string): string[] {
  const inject = `inject=accept4:error=${error}:when=1..${COUNT}`;
  return ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=accept4", "-e", inject];
}

function canTrace(): boolean {
  return succeeds(...failing("EINTR"), "true");
}

for (const error of EXHAUSTION) {
  Deno.test(
    ignoreIf(missing, `main.ts reports once that accept failed with ${error}, and serves the client`),
    async () => {
      await using program = await Program.start({ launcher: failing(error) });
      assertEquals(await roundTrip(program.address, pattern(5)), pattern(5));
      assertEquals(await roundTrip(program.address, pattern(7)), pattern(7));
      const { served, dropped_before_accept } = await program.status();
      assertEquals({ served, dropped_before_accept }, { served: 2, dropped_before_accept: 0 });
      const [, report, ...others] = program.stderr;
      assertMatch(report ?? "", / error: cannot accept clients, trying again every 0\.1 s: .+ \(os error \d+\)$/);
      assertEquals(others.filter((line) => !/ status /.test(line)), []);
      assertEquals(program.log(), "[client 1]: received 5 bytes\n[client 2]: received 7 bytes\n");
    },
  );
}

for (const error of OTHERS) {
  Deno.test(
    ignoreIf(missing, `main.ts counts accepts that failed with ${error} as dropped clients, and serves on`),
    async () => {
      await using program = await Program.start({ launcher: failing(error) });
      // Unlike a real error, one that is injected takes no connection out of the backlog: the first client is served, too.
      assertEquals(await roundTrip(program.address, pattern(5)), pattern(5));
      const { served, dropped_before_accept } = await program.status();
      assertEquals({ served, dropped_before_accept }, { served: 1, dropped_before_accept: COUNT });
      assertEquals(program.stderr.filter((line) => !/ (listening on|status) /.test(line)), []);
      assertEquals(program.log(), "[client 1]: received 5 bytes\n");
    },
  );
}
