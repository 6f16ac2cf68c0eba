import { assert, assertEquals } from "@std/assert";
import { errorMessage, isDisconnect, isExhaustion } from "../../lib/errors.ts";

/** An error as the system's calls reject with it. */
function failed(code: unknown): Error {
  return Object.assign(new Error("failed (os error 1)"), { code });
}

const DISCONNECTS = ["ECONNABORTED", "ECONNRESET", "EHOSTUNREACH", "ENETUNREACH", "ENOTCONN", "EPIPE", "ETIMEDOUT"];
const EXHAUSTIONS = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"];
const OTHERS = ["EBADF", "EINVAL", "EPERM", "EIO", "", undefined, 104];

Deno.test("isDisconnect() knows the codes of a peer that disconnected or cannot be reached, and no other", () => {
  for (const code of DISCONNECTS) assert(isDisconnect(failed(code)), code);
  for (const code of [...EXHAUSTIONS, ...OTHERS]) assert(!isDisconnect(failed(code)), String(code));
  for (const other of [new Error("ECONNRESET"), "ECONNRESET", { code: "ECONNRESET" }, undefined, null]) {
    assert(!isDisconnect(other));
  }
});

Deno.test("isExhaustion() knows the codes of descriptors and memory that ran out, and no other", () => {
  for (const code of EXHAUSTIONS) assert(isExhaustion(failed(code)), code);
  for (const code of [...DISCONNECTS, ...OTHERS]) assert(!isExhaustion(failed(code)), String(code));
});

Deno.test("isExhaustion() knows ENFILE, which Deno gives no code, by the number in the message", () => {
  assert(isExhaustion(new Error("Too many open files in system (os error 23)")));
  assert(!isExhaustion(new Error("Invalid argument (os error 22)")));
  assert(!isExhaustion(new Error("(os error 23): as a file name has it")));
  assert(!isExhaustion("Too many open files in system (os error 23)"));
});

Deno.test("errorMessage() returns the message of an error, and the text of anything else that was thrown", () => {
  assertEquals(errorMessage(new Deno.errors.NotFound("no such file")), "no such file");
  assertEquals(["text", 7, undefined, null].map(errorMessage), ["text", "7", "undefined", "null"]);
});
