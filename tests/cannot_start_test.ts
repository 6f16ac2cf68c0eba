import { assertEquals } from "@std/assert";
import { CannotStart, messageOf } from "../lib/cannot_start.ts";

Deno.test("CannotStart has its own name and keeps its cause", () => {
  const cause = new Error("why");
  const error = new CannotStart("what", { cause });
  assertEquals([error.name, error.message, error.cause], ["CannotStart", "what", cause]);
});

Deno.test("messageOf() tells what an error says, and what anything else is", () => {
  assertEquals(messageOf(new Deno.errors.NotFound("no such file")), "no such file");
  assertEquals(["text", 7, undefined, null].map(messageOf), ["text", "7", "undefined", "null"]);
});
