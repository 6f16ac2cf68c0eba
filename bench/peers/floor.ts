// The floor: accept, read, read to the end, write, close, and nothing else. No log, no limits, one small read a message.
// What this costs, no server that is written in a Deno script can go below.
// Run: deno run --allow-net floor.ts PORT

const listener = Deno.listen({ port: Number(Deno.args[0]), tcpBacklog: 4096 });
const buffers: Uint8Array[] = [];
for (;;) serve(await listener.accept()).catch(console.error);

async function serve(conn: Deno.Conn): Promise<void> {
  using _ = conn;
  const buffer = buffers.pop() ?? new Uint8Array(4096);
  let end = 0;
  for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer.subarray(end))) end += n;
  await conn.write(buffer.subarray(0, end));
  buffers.push(buffer);
}
