// Where it runs: nodes with their leases, the store's health, and what could not be delivered.
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { asError, ReasonForm } from './actions'
import { api, ApiError, ask, type Letters } from './api'
import type { components } from './api.gen'
import { Icon } from './icons'
import { useInterval } from './live'
import { Copy, Dialog, Empty, Json, Live, PauseButton, Time, Trouble, useNow } from './parts'
import { Head } from './shell'
import { age, count } from './time'

type Node = components['schemas']['Nodes']['items'][number]
type Letter = Letters['items'][number]

export function Nodes() {
  const interval = useInterval(3000, 3000)
  const ready = useQuery({
    queryKey: ['ready'], refetchInterval: interval, retry: false,
    queryFn: async ({ signal }) => { try { return await ask(api.GET('/health/ready', { signal })) } catch (fault) { if (fault instanceof ApiError && fault.status === 503) return { status: 'not ready', store: 'down' as const, detail: fault.message }; throw fault } },
  })
  const nodes = useQuery({ queryKey: ['nodes'], refetchInterval: interval, retry: false, queryFn: ({ signal }) => ask(api.GET('/api/v1/nodes', { signal })) })
  const stats = useQuery({ queryKey: ['stats'], refetchInterval: interval, queryFn: ({ signal }) => ask(api.GET('/api/v1/stats', { signal })) })
  const open = stats.data && stats.data.byStatus.Running + stats.data.byStatus.Confirming + stats.data.byStatus.Compensating + stats.data.byStatus.Stuck
  const tone = ready.data?.status === 'ready' ? (ready.data.store === 'low' ? 'wait' : 'keep') : 'fault'
  return (
    <>
      <Head title="Nodes and bus"><Live /><span className="grow" /><PauseButton /></Head>
      <section className="card" aria-label="Health"><dl className="tiles four">
        <div data-p={tone}><dt><Icon name={tone === 'keep' ? 'check' : 'warn'} />This node</dt><dd>{ready.error ? 'no answer' : ready.data?.status ?? '…'}</dd><dd className="d">{ready.data?.detail ?? (ready.data?.status === 'ready' ? 'takes starts' : '')}</dd></div>
        <div data-p={tone}><dt><Icon name="nodes" />Store</dt><dd>{ready.data?.store ?? '…'}</dd><dd className="d">{ready.data?.store === 'good' ? 'commits are durable' : ready.data?.store === 'low' ? 'room gets short' : ready.data ? 'nothing is acknowledged' : ''}</dd></div>
        <div><dt>In flight</dt><dd>{open === undefined ? '…' : count(open)}</dd><dd className="d">unfinished sagas</dd></div>
        <div><dt>Nodes</dt><dd>{nodes.data ? nodes.data.items.length : '–'}</dd><dd className="d">{nodes.data ? 'that share the sagas' : nodes.error ? 'not told by this server' : ''}</dd></div>
      </dl></section>
      <section className="card" aria-label="Nodes"><header><h2>Nodes</h2></header>
        {nodes.error ? <Trouble error={nodes.error} /> : nodes.data && <NodeTable items={nodes.data.items} />}
      </section>
      <Bus />
      <DeadLetters />
    </>
  )
}

function NodeTable({ items }: { items: Node[] }) {
  const now = useNow()
  if (items.length === 0) return <Empty icon="nodes" title="No node has reported yet" />
  return (
    <div className="scroll"><table className="cards"><thead><tr><th>Node</th><th>Started</th><th>Last heard of</th><th className="num">Sagas</th></tr></thead>
      <tbody>{items.map(node => {
        const silent = now - Date.parse(node.heartbeatAt)
        return <tr key={node.id}><td className="id">{node.id}</td><td><Time at={node.startedAt} /></td><td className={node.alive === false ? 'bad' : ''}>{silent < 2000 ? 'now' : `${age(silent)} ago`}{node.alive === false && ', taken for dead'}</td><td className="num">{count(node.sagas)}</td></tr>
      })}</tbody></table></div>
  )
}

function Bus() {
  const bus = useQuery({ queryKey: ['bus'], retry: false, refetchInterval: useInterval(3000, 3000), queryFn: ({ signal }) => ask(api.GET('/api/v1/bus', { signal })) })
  const waiting = bus.data?.outgoing.filter(lane => lane.waiting > 0) ?? []
  return (
    <section className="card" aria-label="Bus"><header><h2>Bus</h2><small>{bus.data?.bus === 'in-process' ? 'engine and participants share this process' : bus.data?.bus}</small></header>
      {bus.error ? <Trouble error={bus.error} /> : bus.data && <>
        {bus.data.detail && <div className="calm" role="alert"><Icon name="warn" tone="fault" />{bus.data.detail}</div>}
        {waiting.length > 0 ? <ul className="todo">{waiting.map(lane => <li key={lane.destination} data-p="wait"><Icon name="waiting" /><div><b>{lane.destination}</b><p>{count(lane.waiting)} committed commands wait here to be sent</p></div></li>)}</ul>
          : !bus.data.detail && <div className="calm"><Icon name="check" tone="keep" />Every committed command has left this node.</div>}
        {bus.data.queues.length > 0 && <div className="scroll"><table className="cards"><thead><tr><th>Queue</th><th className="num">Waiting</th><th className="num">Consumers</th></tr></thead>
          <tbody>{bus.data.queues.map(queue => <tr key={queue.name}><td className="id">{queue.name}</td><td className="num">{count(queue.messages)}</td><td className={queue.consumers === 0 ? 'num bad' : 'num'}>{queue.consumers === 0 ? 'none: nobody hears' : count(queue.consumers)}</td></tr>)}</tbody></table></div>}
      </>}
    </section>
  )
}

function DeadLetters() {
  const letters = useQuery({ queryKey: ['deadletters'], retry: false, refetchInterval: useInterval(5000, 5000), queryFn: ({ signal }) => ask(api.GET('/api/v1/deadletters', { signal })) })
  const [asking, setAsking] = useState<{ letter: Letter; word: 'replay' | 'discard' } | null>(null)
  const more = letters.data ? letters.data.count - letters.data.items.length : 0
  return (
    <section className="card" aria-label="Dead letters"><header><h2>Dead letters</h2><small>{letters.data?.kept === false ? 'this node has no bus that keeps any' : 'messages that nobody could read'}</small></header>
      {letters.error ? <Trouble error={letters.error} /> : letters.data && (letters.data.items.length === 0 ? <div className="calm"><Icon name="check" tone="keep" />None.</div> : (
        <ul className="todo">{letters.data.items.map(letter => (
          <li key={letter.id} data-p="none"><Icon name="nodes" />
            <div><b>{letter.queue}</b><p>{letter.reason} <Time at={letter.at} /></p><details><summary>Message, {count(letter.bytes)} bytes</summary><Json value={letter.body} label="Message" /></details></div>
            <Copy text={letter.body} label="Copy the message" />
            <button type="button" className="btn" onClick={() => setAsking({ letter, word: 'replay' })}>Replay…</button>
            <button type="button" className="btn" onClick={() => setAsking({ letter, word: 'discard' })}>Discard…</button>
          </li>))}</ul>
      ))}
      {more > 0 && <p className="soft pad">{count(more)} more, later than these.</p>}
      {asking && <AskLetter {...asking} close={() => { setAsking(null); void letters.refetch() }} />}
    </section>
  )
}

function AskLetter({ letter, word, close }: { letter: Letter; word: 'replay' | 'discard'; close: () => void }) {
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<Error | null>(null)
  const [done, setDone] = useState(false)
  const run = async (reason: string) => {
    setBusy(true)
    try {
      const options = { params: { path: { id: letter.id } }, body: { reason } }
      await ask(word === 'replay' ? api.POST('/api/v1/deadletters/{id}/replay', options) : api.POST('/api/v1/deadletters/{id}/discard', options))
      setDone(true)
    } catch (fault) { setError(asError(fault)) }
    setBusy(false)
  }
  const replay = word === 'replay'
  return (
    <Dialog open close={close} title={replay ? 'Replay a dead letter' : 'Discard a dead letter'}>
      {done ? <div className="pad"><p role="status"><b>{replay ? `Back on ${letter.queue}.` : 'Thrown away.'}</b></p><div className="row"><span className="grow" /><button type="button" className="btn primary" onClick={close}>Close</button></div></div>
        : <ReasonForm word={replay ? 'Replay' : 'Discard'} icon={replay ? 'retry' : 'no'} danger={!replay} busy={busy} error={error} onDo={reason => void run(reason)}>
            <p className="soft">{replay ? 'Puts the message back on its queue. If nothing was mended it comes back here.' : 'Throws the message away for good. Nothing is lost by it that a saga needs: the engine asks again.'}</p>
          </ReasonForm>}
    </Dialog>
  )
}
