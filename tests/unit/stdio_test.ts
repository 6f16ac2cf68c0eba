import { assertEquals, assertThrows } from "@std/assert";
import { write } from "../../lib/stdio.ts";

Deno.test("write() writes a text whole, however little is taken at a time", () => {
  const taken: number[] = [];
  const output = {
    writeSync(bytes: Uint8Array): number {
      taken.push(...bytes.subarray(0, 3));
      return Math.min(3, bytes.length);
    },
  };
  write(output, "größer\n");
  assertEquals(new TextDecoder().decode(Uint8Array.from(taken)), "größer\n");
});

Deno.test("write() passes on that nobody reads any more", () => {
  const output = {
    writeSync(): number {
      throw new Deno.errors.BrokenPipe("nobody reads");
    },
  };
  assertThrows(() => write(output, "text"), Deno.errors.BrokenPipe);
});
