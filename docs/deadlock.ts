// A client that sends its whole message before it reads, to a server that waits for EOF and to one that echoes at once.
// deno run --allow-net=127.0.0.1 docs/deadlock.ts

const message = new Uint8Array(64_000_000);

/** Echoes either whatever has come after each read, or all of it after EOF. */
async function serve(conn: Deno.Conn, early: boolean): Promise<void> {
  let received = 0, sent = 0;
  const echo = async () => {
    while (sent < received) sent += await conn.write(message.subarray(sent, received));
  };
  const buffer = new Uint8Array(65_536);
  for (let bytes; (bytes = await conn.read(buffer)) !== null;) {
    received += bytes;
    if (early) await echo();
  }
  await echo();
  conn.close();
}

for (const early of [false, true]) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const conn = await Deno.connect({ port: listener.addr.port });
  serve(await listener.accept(), early);
  let sent = 0, received = 0;
  (async () => {
    while (sent < message.length) sent += await conn.write(message.subarray(sent));
    await conn.closeWrite();
    for await (const chunk of conn.readable) received += chunk.length;
  })();
  for (let before = -1; before !== sent + received; await new Promise((done) => setTimeout(done, 1000))) {
    before = sent + received; // until nothing has moved for a second
  }
  console.log(`echo ${early ? "at once" : "after EOF"}: ${sent} bytes sent, ${received} came back`);
}
Deno.exit(); // the second client and its server would wait for each other for ever
