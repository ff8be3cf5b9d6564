// A participant in nothing but Node: it reserves seats. Usage: node participant.mjs PORT PARTICIPANT
//
// What it takes to join in: consume the durable queue sagas.{participant}, answer each item on the queue that it names in replyTo (default exchange, routing
// key = queue), and acknowledge the message after that. The answers here are kept nowhere; a real participant writes them down with what it does.
import { connect } from './amqp.mjs';

const [port, participant] = process.argv.slice(2);
const seats = new Map();

function handle({ saga, phase, payload }) {
  switch (phase) {
    case 'try':
      if (payload.flight === 'XX404') return { outcome: 'refused', code: 'sold-out', message: `No seat is left: ${payload.flight}.` };
      if (!seats.has(saga)) seats.set(saga, { id: `seat ${seats.size + 1}` });
      return { outcome: 'ok', payload: seats.get(saga) };
    case 'confirm':
    case 'cancel':
      return { outcome: 'ok' };
    default:
      return { outcome: 'error', code: 'unknown-phase', message: `There is no phase '${phase}' here.` };
  }
}

const bus = await connect(Number(port));
await bus.declare(`sagas.${participant}`);
await bus.consume(`sagas.${participant}`, message => {
  for (const item of JSON.parse(message).items) {
    const { saga, step, phase, attempt } = item;
    bus.publish(item.replyTo, JSON.stringify({ items: [{ saga, step, phase, attempt, ...handle(item) }] }));
  }
});
console.log('listening');
