// As much of AMQP 0-9-1 as a participant needs, so that the test installs nothing. Use a library in your service.
import net from 'node:net';

const u16 = n => Buffer.from([n >> 8, n & 255]);
const u32 = n => { const b = Buffer.alloc(4); b.writeUInt32BE(n); return b; };
const u64 = n => { const b = Buffer.alloc(8); b.writeBigUInt64BE(BigInt(n)); return b; };
const short = s => Buffer.concat([Buffer.from([Buffer.byteLength(s)]), Buffer.from(s)]);
const long = s => Buffer.concat([u32(Buffer.byteLength(s)), Buffer.from(s)]);
const table = fields => { const body = Buffer.concat(Object.entries(fields).flatMap(([k, v]) => [short(k), Buffer.from('S'), long(v)])); return Buffer.concat([u32(body.length), body]); };

/** Connects as guest to a RabbitMQ on this machine. */
export async function connect(port) {
  const socket = net.connect(port, '127.0.0.1');
  let received = Buffer.alloc(0), delivery = null, handler = null;
  const waiting = new Map();

  const frame = (type, channel, payload) => socket.write(Buffer.concat([Buffer.from([type]), u16(channel), u32(payload.length), payload, Buffer.from([0xce])]));
  const method = (channel, cls, id, ...fields) => frame(1, channel, Buffer.concat([u16(cls), u16(id), ...fields]));
  const answer = (cls, id) => new Promise(resolve => waiting.set(`${cls}.${id}`, resolve));

  socket.on('data', data => {
    received = Buffer.concat([received, data]);
    while (received.length >= 7 && received.length >= 8 + received.readUInt32BE(3)) {
      const size = received.readUInt32BE(3);
      hear(received[0], received.subarray(7, 7 + size));
      received = received.subarray(8 + size);
    }
  });

  function hear(type, body) {
    if (type === 1) {
      const name = `${body.readUInt16BE(0)}.${body.readUInt16BE(2)}`;
      if (name === '60.60') delivery = { tag: body.readBigUInt64BE(5 + body[4]), parts: [], left: 0 };
      else if (waiting.has(name)) waiting.get(name)(body.subarray(4));
      else throw new Error(`RabbitMQ says ${name}: ${body.subarray(4)}`);
    } else if (type === 2) delivery.left = Number(body.readBigUInt64BE(4));
    else if (type === 3) {
      delivery.parts.push(body);
      delivery.left -= body.length;
      if (delivery.left > 0) return;
      handler(Buffer.concat(delivery.parts).toString());
      method(1, 60, 80, u64(delivery.tag), Buffer.from([0]));                                               // basic.ack, after the answers
    }
  }

  socket.write(Buffer.from('AMQP\0\0\x09\x01', 'latin1'));
  await answer(10, 10);
  method(0, 10, 11, table({}), short('PLAIN'), long('\0guest\0guest'), short('en_US'));                     // connection.start-ok
  const tune = await answer(10, 30);
  method(0, 10, 31, tune.subarray(0, 6), u16(0));                                                           // connection.tune-ok, without heartbeat
  method(0, 10, 40, short('/'), short(''), Buffer.from([0]));                                               // connection.open
  await answer(10, 41);
  method(1, 20, 10, short(''));                                                                             // channel.open
  await answer(20, 11);

  return {
    /** Makes a durable quorum queue. */
    declare(queue) { method(1, 50, 10, u16(0), short(queue), Buffer.from([2]), table({ 'x-queue-type': 'quorum' })); return answer(50, 11); },
    /** Calls back for each message, and acknowledges it then. */
    consume(queue, take) { handler = take; method(1, 60, 20, u16(0), short(queue), short(''), Buffer.from([0]), table({})); return answer(60, 21); },
    /** Sends a durable message to a queue. */
    publish(queue, text) {
      method(1, 60, 40, u16(0), short(''), short(queue), Buffer.from([0]));
      frame(2, 1, Buffer.concat([u16(60), u16(0), u64(Buffer.byteLength(text)), u16(0x9000), short('application/json'), Buffer.from([2])]));
      frame(3, 1, Buffer.from(text));
    },
  };
}
