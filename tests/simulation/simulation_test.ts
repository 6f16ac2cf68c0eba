import { assertEquals } from "@std/assert";
import { FOUND } from "./found.ts";
import { live, read, search, tell, write } from "./search.ts";

const [seed = 0] = crypto.getRandomValues(new Uint16Array(1));

Deno.test(`the server keeps its promises in 2,000 histories (--seed=${seed})`, async () => {
  const found = await search(seed, 2000);
  if (found !== undefined) throw new Error(`${found.how}\n${await tell(found.history)}`);
});

Deno.test("the server keeps its promises in the histories that once found something", async () => {
  for (const [, text] of FOUND) {
    const history = read(text);
    assertEquals(history && write(history), text);
    if (history !== undefined) await live(history);
  }
});

Deno.test("a history happens again to the letter", async () => {
  const history = { setup: 5, faults: 0xffff_ffff, steps: Array.from({ length: 200 }, (_, i) => i * 21_474_836) };
  assertEquals(await tell(history), await tell(history));
});
