import { assertEquals, assertNotEquals } from "@std/assert";
import { Pattern } from "../../../verify/content.ts";

Deno.test("Pattern fills buffers of any size with the same bytes as one large buffer", () => {
  const whole = new Pattern(3).fill(new Uint8Array(1000));
  const parts = new Pattern(3);
  for (let at = 0, size = 0; at < whole.length; at += size++) {
    const part = whole.subarray(at, at + size);
    assertEquals(parts.fill(new Uint8Array(part.length)), part);
  }
});

Deno.test("Pattern has other bytes with another seed, and after any shift", () => {
  const bytes = (seed: number) => new Pattern(seed).fill(new Uint8Array(5000));
  for (let seed = 1; seed < 100; seed++) assertNotEquals(bytes(seed).subarray(0, 5), bytes(0).subarray(0, 5));
  for (let shift = 1; shift < 4900; shift++) {
    assertNotEquals(bytes(0).subarray(shift, shift + 100), bytes(0).subarray(0, 100));
  }
});
