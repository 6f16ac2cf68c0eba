// The server as usually written for Deno: `for await`, a new 16 KiB buffer for every read, the log opened for each client.
// Run: deno run --allow-net --allow-write plain_deno.ts PORT LOG

const [port, log] = Deno.args;
if (port === undefined || log === undefined) throw new Error("usage: plain_deno.ts PORT LOG");

let accepted = 0;
for await (const conn of Deno.listen({ port: Number(port) })) {
  serve(conn, ++accepted).catch(console.error);
}

async function serve(conn: Deno.Conn, client: number): Promise<void> {
  using _ = conn;
  const chunks: Uint8Array[] = [];
  let received = 0;
  for (;;) {
    const chunk = new Uint8Array(16 * 1024);
    const n = await conn.read(chunk);
    if (n === null) break;
    chunks.push(chunk.subarray(0, n));
    received += n;
  }
  const message = new Uint8Array(received);
  let filled = 0;
  for (const chunk of chunks) {
    message.set(chunk, filled);
    filled += chunk.length;
  }
  for (let sent = 0; sent < received;) sent += await conn.write(message.subarray(sent));
  await Deno.writeTextFile(log!, `[client ${client}]: received ${received} bytes\n`, { append: true });
}
