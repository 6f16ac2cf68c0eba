import { assertEquals } from "@std/assert";
import { isAllowed, resolve } from "../../../verify/addresses.ts";
import { hasPermissions } from "../../support/permissions.ts";

Deno.test({
  name: "isAllowed() and resolve() do not throw at what cannot be a host",
  ignore: !hasPermissions({ name: "net" }),
  permissions: { net: ["127.0.0.1:4000"] },
  async fn() {
    assertEquals(await isAllowed("127.0.0.1", 4000), true);
    for (const hostname of ["a b", "..", ":::::"]) {
      assertEquals(await isAllowed(hostname, 4000), false);
      assertEquals(await resolve(hostname, 4000), { hostnames: [hostname], denied: [] });
    }
  },
});
