// node.js DIR: what a careful Node program does: serves "hello", and writes DIR/server.json when it listens.
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");

const dir = process.argv[2];
const file = path.join(dir, "server.json");
const server = http.createServer((_, response) => {
  response.setHeader("content-type", "text/plain");
  response.end("hello\n");
});
server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  fs.mkdirSync(dir, { recursive: true });
  const { port } = server.address();
  const temporary = `${file}.tmp`;
  const record = { port, pid: process.pid, started_at: new Date().toISOString() };
  fs.writeFileSync(temporary, JSON.stringify(record), { flush: true });
  fs.renameSync(temporary, file);
});
process.on("SIGTERM", () => {
  fs.unlinkSync(file);
  server.close();
});
