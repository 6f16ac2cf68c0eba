// Run: node node.mjs PORT LOG
import { createWriteStream } from "node:fs";
import { createServer } from "node:net";

const [port, path] = process.argv.slice(2);
const log = createWriteStream(path, { flags: "a" });

let accepted = 0;
const server = createServer({ allowHalfOpen: true }, (socket) => {
  const client = ++accepted;
  const chunks = [];
  let received = 0;
  socket.on("data", (chunk) => {
    chunks.push(chunk);
    received += chunk.length;
  });
  socket.on("end", () => {
    log.write(`[client ${client}]: received ${received} bytes\n`);
    socket.cork();
    for (const chunk of chunks) socket.write(chunk);
    socket.end();
  });
  socket.on("error", (error) => console.error(`client ${client}:`, error.message));
});
server.listen({ port: Number(port), host: "0.0.0.0", backlog: 4096 });
