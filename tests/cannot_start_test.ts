import { assertEquals } from "@std/assert";
import { CannotStart } from "../lib/cannot_start.ts";

Deno.test("CannotStart has its own name and keeps its cause", () => {
  const cause = new Error("why");
  const error = new CannotStart("what", { cause });
  assertEquals([error.name, error.message, error.cause], ["CannotStart", "what", cause]);
});
