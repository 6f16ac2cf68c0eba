/**
 * The exercise with its errors handled: no client can end this server or the connection of another client, and a client
 * that has read its reply and EOF finds its line in the log. What it still lacks: `../docs/sockets.md`.
 *
 *     deno run --allow-net=0.0.0.0:4000 --allow-write=access.log examples/robust.ts
 *
 * @module
 */

/** Milliseconds from an accept that failed to the next: descriptors or memory may have run out. */
const RETRY_INTERVAL_MS = 100;

const [port = "4000", path = "access.log"] = Deno.args;
const log = Deno.openSync(path, { append: true, create: true });
const listener = Deno.listen({ hostname: "0.0.0.0", port: Number(port), tcpBacklog: 4096 });
console.log(`listening on 0.0.0.0:${listener.addr.port}`);

for (let accepted = 0;;) {
  try {
    const conn = await listener.accept();
    serve(conn, ++accepted); // not awaited: clients are served at the same time
  } catch (error) { // and the next accept may succeed
    if (error instanceof Deno.errors.NotConnected) continue; // the client had reset the connection before its accept
    console.error(`accept failed: ${error}`);
    await new Promise((resolve) => setTimeout(resolve, RETRY_INTERVAL_MS));
  }
}

/** Serves one client. Its errors end this client only: the promise never rejects. */
async function serve(conn: Deno.Conn, client: number): Promise<void> {
  try {
    const chunks = await readToEof(conn);
    for (const chunk of chunks) await sendAll(conn, chunk);
    const received = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    appendLine(`[client ${client}]: received ${received} bytes\n`); // before the close
  } catch (error) {
    console.error(`client ${client} dropped: ${error}`);
  } finally {
    conn.close();
  }
}

async function readToEof(conn: Deno.Conn): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for (;;) {
    const buffer = new Uint8Array(16_384);
    const bytes = await conn.read(buffer);
    if (bytes === null) return chunks;
    chunks.push(buffer.subarray(0, bytes));
  }
}

async function sendAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length;) sent += await conn.write(bytes.subarray(sent));
}

/** Writes synchronously, so that no other client's line can come between the parts of this one. */
function appendLine(line: string): void {
  const bytes = new TextEncoder().encode(line);
  for (let written = 0; written < bytes.length;) written += log.writeSync(bytes.subarray(written));
}
