import { assert } from "@std/assert";
import { isGone } from "../../lib/gone.ts";

Deno.test("isGone() knows every class of error of a client that is gone, and no other", () => {
  const { ConnectionReset, BrokenPipe, ConnectionAborted, NotConnected, TimedOut } = Deno.errors;
  for (const Gone of [ConnectionReset, BrokenPipe, ConnectionAborted, NotConnected, TimedOut]) {
    assert(isGone(new Gone("gone")), Gone.name);
  }
  const { BadResource, Interrupted, NotCapable } = Deno.errors;
  for (const Other of [Error, BadResource, Interrupted, NotCapable]) assert(!isGone(new Other("other")), Other.name);
  assert(!isGone("gone"));
});

Deno.test("isGone() knows the codes by which Linux, macOS and Windows say so, and no other", () => {
  const failed = (code: unknown) => Object.assign(new Error("failed (os error 1)"), { code });
  for (const code of ["EPROTO", "EHOSTUNREACH", "ENETDOWN", "ENETRESET", "ESHUTDOWN", "ECONNABORTED"]) {
    assert(isGone(failed(code)), code);
  }
  for (const code of ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM", "EINVAL", 104]) {
    assert(!isGone(failed(code)), `${code}`);
  }
});
