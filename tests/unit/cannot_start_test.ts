import { assertEquals } from "@std/assert";
import { CannotStart, explain, permissionMissing } from "../../lib/cannot_start.ts";

Deno.test("CannotStart has its own name and keeps its cause", () => {
  const cause = new Error("why");
  const error = new CannotStart("what", { cause });
  assertEquals([error.name, error.message, error.cause], ["CannotStart", "what", cause]);
});

Deno.test("explain() says what an error means here, or what it says itself and the way out", () => {
  const { AddrInUse, NotFound } = Deno.errors;
  const known: [new () => Error, string][] = [[AddrInUse, "taken"], [NotFound, "missing"]];
  assertEquals(explain(new NotFound("no such file"), known, "try another"), "missing");
  assertEquals(explain(new Error("odd"), known, "try another"), "odd; try another");
});

Deno.test("permissionMissing() says which flag goes where, and where it cannot go", () => {
  assertEquals(
    permissionMissing("--allow-net=0.0.0.0:80"),
    'the permission is missing, run again with --allow-net=0.0.0.0:80 before main.ts ("deno task start" cannot take it)',
  );
});
