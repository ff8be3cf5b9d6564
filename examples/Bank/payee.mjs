// The payee's bank: plain Node, no library. node payee.mjs PORT FILE
// A participant owes three things: an effect is on disk before it is answered, a repeat (same Idempotency-Key) changes nothing and gets the first
// answer, and a deposit that comes after its undo takes no effect. Here one file of JSON lines does all three.
import { createServer } from "node:http";
import { openSync, writeSync, fsyncSync, existsSync, readFileSync, truncateSync } from "node:fs";

const [port, file] = process.argv.slice(2);
const steps = new Map();                                          // "saga/step" -> { deposited?, undone? }, each a line of the file
const text = existsSync(file) ? readFileSync(file, "utf8") : "";
const whole = text.lastIndexOf("\n") + 1;                         // a line that a crash tore was never answered
for (const line of text.slice(0, whole).split("\n").filter(Boolean)) remember(JSON.parse(line));
if (whole < text.length) truncateSync(file, Buffer.byteLength(text.slice(0, whole)));
const out = openSync(file, "a");

function remember(line) {
  const key = `${line.saga}/${line.step}`;
  steps.set(key, { ...steps.get(key), [line.what]: line });
}
function write(line) {
  writeSync(out, JSON.stringify(line) + "\n");
  fsyncSync(out);
  remember(line);
}
function deposit(saga, step, { account, amount }) {
  const { deposited, undone } = steps.get(`${saga}/${step}`) ?? {};
  if (undone) return [409, { code: "undone", detail: "This deposit was undone before it arrived. Nothing was done." }];
  if (account.startsWith("closed")) return [409, { code: "account-closed", detail: `Account ${account} is closed.` }];
  if (!deposited) write({ what: "deposited", saga, step, account, amount });
  return [200, { receipt: `deposit:${saga}` }];
}
function undo(saga, step, { command: { account, amount } }) {
  const { deposited, undone } = steps.get(`${saga}/${step}`) ?? {};
  if (!undone) write({ what: "undone", saga, step, account, amount: deposited ? amount : 0 });
  return [204];
}

createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  const handle = { "/deposit": deposit, "/deposit/undo": undo }[request.url];
  const [status, answer] = handle ? handle(request.headers["saga-id"], request.headers["saga-step"], JSON.parse(body)) : [404, { detail: `There is no ${request.url}.` }];
  response.writeHead(status, { "Content-Type": "application/json" }).end(answer && JSON.stringify(answer));
}).listen(port, "127.0.0.1", () => console.log("ready"));
process.on("SIGINT", () => {}).stdin.resume().on("end", () => process.exit());     // it ends with whoever started it
