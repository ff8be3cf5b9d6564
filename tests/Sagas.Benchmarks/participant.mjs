// A participant that does nothing: HTTP/1.1 by hand on plain sockets, so that little of what is measured is its own.
// A path that ends in "refuse" is answered 409, every other 200; both with a small JSON body. GET /calls counts what was asked, by step and phase.
// Prints its port. It ends with its standard input: with the benchmark.
import { createServer } from "node:net";

const answer = (status, body) => Buffer.from(`HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
const done = answer("200 OK", '{"id":"reservation"}');
const no = answer("409 Conflict", '{"code":"none-left","detail":"None is left."}');
const calls = {};

const server = createServer(socket => {
  socket.setNoDelay(true);
  socket.on("error", () => {});
  let rest = "";
  socket.on("data", bytes => {
    let text = rest + bytes.latin1Slice();
    const answers = [];
    for (;;) {
      const head = text.indexOf("\r\n\r\n");
      if (head < 0) break;
      const length = /content-length: (\d+)/i.exec(text.slice(0, head));
      const end = head + 4 + Number(length?.[1] ?? 0);
      if (text.length < end) break;
      const path = text.slice(text.indexOf(" ") + 1, text.indexOf(" ", text.indexOf(" ") + 1));
      text = text.slice(end);
      if (path === "/calls") answers.push(answer("200 OK", JSON.stringify(calls)));
      else {
        calls[path] = (calls[path] ?? 0) + 1;
        answers.push(path.endsWith("refuse") ? no : done);
      }
    }
    rest = text;
    if (answers.length > 0) socket.write(answers.length === 1 ? answers[0] : Buffer.concat(answers));
  });
});
server.listen(0, "127.0.0.1", 4096, () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit());
