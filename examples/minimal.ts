// The smallest server that answers the exercise. What breaks it: ../docs/sockets.md
// deno run --allow-net=0.0.0.0:4000 --allow-write=access.log examples/minimal.ts

const [port = "4000", log = "access.log"] = Deno.args;
const listener = Deno.listen({ hostname: "0.0.0.0", port: Number(port) }); // socket, bind, listen
console.log(`listening on 0.0.0.0:${listener.addr.port}`);
let accepted = 0;
for await (const conn of listener) serve(conn, ++accepted); // accept

async function serve(conn: Deno.Conn, client: number): Promise<void> {
  const chunks: Uint8Array[] = [];
  for (;;) {
    const buffer = new Uint8Array(16_384);
    const bytes = await conn.read(buffer); // recv, until it returns 0
    if (bytes === null) break;
    chunks.push(buffer.subarray(0, bytes));
  }
  for (const chunk of chunks) {
    for (let sent = 0; sent < chunk.length;) sent += await conn.write(chunk.subarray(sent)); // send, until all is sent
  }
  conn.close();
  const received = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  await Deno.writeTextFile(log, `[client ${client}]: received ${received} bytes\n`, { append: true });
}
