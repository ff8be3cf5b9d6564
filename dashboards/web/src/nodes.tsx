// Where it runs: nodes with their leases, the store's health, and what could not be delivered.
import { useQuery } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'
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
type BusState = components['schemas']['Bus']

export function Nodes() {
  const interval = useInterval(3000, 3000)
  const ready = useQuery({
    queryKey: ['ready'], refetchInterval: interval, retry: false,
    queryFn: async ({ signal }) => { try { return await ask(api.GET('/health/ready', { signal })) } catch (fault) { if (fault instanceof ApiError && fault.status === 503) return { status: 'not ready', store: 'down' as const, detail: fault.message }; throw fault } },
  })
  const nodes = useQuery({ queryKey: ['nodes'], refetchInterval: interval, retry: false, queryFn: ({ signal }) => ask(api.GET('/api/v1/nodes', { signal })) })
  const stats = useQuery({ queryKey: ['stats'], refetchInterval: interval, queryFn: ({ signal }) => ask(api.GET('/api/v1/stats', { signal })) })
  const bus = useQuery({ queryKey: ['bus'], retry: false, refetchInterval: interval, queryFn: ({ signal }) => ask(api.GET('/api/v1/bus', { signal })) })
  const open = stats.data && stats.data.byStatus.Running + stats.data.byStatus.Confirming + stats.data.byStatus.Compensating + stats.data.byStatus.Stuck
  const tone = ready.data?.status === 'ready' ? (ready.data.store === 'low' ? 'wait' : 'keep') : 'fault'
  return (
    <>
      <Head title="Nodes and bus"><Live /><span className="grow" /><PauseButton /></Head>
      <section className="card" aria-label="Health"><dl className="tiles four">
        <div data-p={tone}><dt><Icon name={tone === 'keep' ? 'check' : 'warn'} />This node</dt><dd>{ready.error ? 'no answer' : ready.data?.status ?? '…'}</dd><dd className="d">{ready.data?.status === 'ready' ? ready.data.store === 'low' ? ready.data.detail : 'takes starts' : ready.data?.detail ?? ''}</dd></div>
        <div data-p={tone}><dt><Icon name="nodes" />Store</dt><dd>{ready.data?.store ?? '…'}</dd><dd className="d">{ready.data?.store === 'good' ? 'commits are durable' : ready.data?.store === 'low' ? 'room gets short' : ready.data ? 'nothing is acknowledged' : ''}</dd></div>
        <div data-p={!bus.data ? 'none' : bus.data.status === 'held' ? 'fault' : 'keep'}><dt><Icon name="ops" />Bus</dt><dd>{bus.data ? bus.data.status : '…'}</dd><dd className="d">{bus.data && (bus.data.status === 'held' ? 'nothing is sent or heard; nothing is lost' : busName(bus.data.bus))}</dd></div>
        <div><dt>In flight</dt><dd>{open === undefined ? '…' : count(open)}</dd><dd className="d">unfinished sagas{nodes.data && nodes.data.items.length > 1 && `, on ${nodes.data.items.length} nodes`}</dd></div>
      </dl></section>
      <section className="card" aria-label="Nodes"><header><h2>Nodes</h2></header>
        {nodes.error ? <Trouble error={nodes.error} /> : nodes.data && <NodeTable items={nodes.data.items} />}
      </section>
      <Bus bus={bus.data} error={bus.error} />
      <DeadLetters isHeld={bus.data?.status === 'held'} />
    </>
  )
}

function NodeTable({ items }: { items: Node[] }) {
  const now = useNow()
  if (items.length === 0) return <Empty icon="nodes" title="No node has reported yet" />
  return (
    <div className="scroll"><table className="cards plaincards"><thead><tr><th>Node</th><th>Started</th><th>Last heard of</th><th className="num">Sagas</th></tr></thead>
      <tbody>{items.map(node => {
        const silent = now - Date.parse(node.heartbeatAt)
        return <tr key={node.id}><td className="id">{node.id}</td><td><small className="only-narrow">since </small><Time at={node.startedAt} /></td><td className={node.alive === false ? 'bad' : ''}><small className="only-narrow">heard of </small>{silent < 2000 ? 'now' : `${age(silent)} ago`}{node.alive === false && ', taken for dead: the others go on with its sagas'}</td><td className="num">{count(node.sagas)}<small className="only-narrow"> sagas</small></td></tr>
      })}</tbody></table></div>
  )
}

// ---------- bus

const busName = (name: string) => ({ 'in-process': 'engine and participants share this process', rabbitmq: 'RabbitMQ' })[name] ?? name

interface Lane { name: string; about: string; toSend: number | null; messages: number | null; consumers: number | null; bad: string | null }

/** One line for each way that messages take: what is still to leave this node, what waits in the queue, and who hears. */
function lanesOf(bus: BusState): Lane[] {
  const sent = new Map(bus.outgoing.map(lane => [lane.destination, lane.waiting]))
  const lanes = bus.queues.map(({ name, messages, consumers }): Lane => {
    const replies = name.startsWith('sagas.replies.')
    const who = name.replace(/^sagas\.(replies\.)?/, '')
    const toSend = replies ? null : sent.get(who) ?? 0
    sent.delete(who)
    return { name, about: replies ? `answers to node ${who}` : `commands for ${who}`, toSend, messages, consumers, bad: consumers > 0 ? null : replies ? 'nobody hears' : `nobody hears: is ${who} running?` }
  })
  // What has no queue: HTTP hosts, participants in this process, and those that have never been there.
  return [...lanes, ...[...sent].filter(([, waiting]) => waiting > 0).map(([name, waiting]): Lane => ({ name, about: `commands for ${name}`, toSend: waiting, messages: null, consumers: null, bad: null }))]
}

function Bus({ bus, error }: { bus: BusState | undefined; error: Error | null }) {
  const lanes = bus ? lanesOf(bus) : []
  const waiting = bus?.outgoing.reduce((sum, lane) => sum + lane.waiting, 0) ?? 0
  const unheard = lanes.filter(lane => lane.bad !== null && (lane.messages ?? 0) > 0)
  return (
    <section className="card" aria-label="Bus"><header><h2>Bus</h2><small>{bus && busName(bus.bus)}</small></header>
      {error ? <div className="pad"><Trouble error={error} /></div> : bus && <>
        {bus.detail ? <div className="verdict" data-p="fault" role="alert"><Icon name="warn" /><div><h3><em>The bus is not reached.</em> Committed commands wait on this node and leave when it is back.</h3><p className="soft">{bus.detail}</p></div></div>
          : unheard.length > 0 ? <div className="verdict" data-p="fault" role="status"><Icon name="warn" /><div><h3><em>Nobody hears {unheard.map(lane => lane.name).join(', ')}.</em></h3><p className="soft">{count(unheard.reduce((sum, lane) => sum + (lane.messages ?? 0), 0))} messages wait there. Start the participant; its sagas go on by themselves.</p></div></div>
          : waiting === 0 && <div className="calm"><Icon name="check" tone="keep" />Every committed command has left this node.</div>}
        {lanes.length > 0 && <div className="scroll"><table className="cards plaincards"><thead><tr><th>Queue</th><th>Carries</th><th className="num">To be sent</th><th className="num">Waiting</th><th className="num">Consumers</th></tr></thead>
          <tbody>{lanes.map(lane => <tr key={lane.name}><td className="id">{lane.name}</td><td>{lane.about}</td><td className="num">{lane.toSend === null ? '' : <>{lane.toSend > 0 ? <b>{count(lane.toSend)}</b> : 0}<small className="only-narrow"> to be sent</small></>}</td><td className="num">{lane.messages === null ? '' : <>{lane.messages > 0 ? <b>{count(lane.messages)}</b> : 0}<small className="only-narrow"> waiting</small></>}</td><td className={lane.bad === null ? 'num' : 'num bad'}>{lane.bad ?? <>{lane.consumers === null ? '' : <>{count(lane.consumers)}<small className="only-narrow"> hear it</small></>}</>}</td></tr>)}</tbody></table></div>}
      </>}
    </section>
  )
}

// ---------- dead letters

const lettersQuery = { queryKey: ['deadletters'], retry: false, queryFn: ({ signal }: { signal: AbortSignal }) => ask(api.GET('/api/v1/deadletters', { params: { query: { limit: 200 } }, signal })) }

function DeadLetters({ isHeld }: { isHeld: boolean }) {
  const letters = useQuery({ ...lettersQuery, refetchInterval: useInterval(5000, 5000) })
  const [asking, setAsking] = useState<{ letters: Letter[]; word: Word } | null>(null)
  const items = letters.data?.items ?? []
  const more = letters.data ? letters.data.count - items.length : 0
  return (
    <section className="card" aria-label="Dead letters"><header><h2>Dead letters</h2><small>{letters.data?.kept === false ? 'this node has no bus that keeps any' : <>messages that nobody could read{letters.data && letters.data.count > 0 && `: ${count(letters.data.count)}`}</>}</small>
      {items.length > 1 && <><span className="grow" /><button type="button" className="btn" onClick={() => setAsking({ letters: items, word: 'replay' })}><Icon name="retry" />Replay {more > 0 ? `the ${items.length} oldest` : `all ${items.length}`}…</button><button type="button" className="btn danger" onClick={() => setAsking({ letters: items, word: 'discard' })}><Icon name="no" />Discard {more > 0 ? `the ${items.length} oldest` : `all ${items.length}`}…</button></>}</header>
      {isHeld && letters.error ? <div className="calm"><Icon name="unknown" />They are on the bus, which is not reached now.</div> : letters.error ? <div className="pad"><Trouble error={letters.error} /></div> : letters.data && (items.length === 0 ? <div className="calm"><Icon name="check" tone="keep" />None.</div> : (
        <ul className="letters">{items.map(letter => (
          <li key={letter.id}>
            <div><b className="id">{letter.queue}</b> <small><Time at={letter.at} /></small><p>{letter.reason}</p><details><summary>Message, {count(letter.bytes)} bytes</summary><Json value={pretty(letter.body)} label={`Message ${letter.id}`} />{letter.bytes > letter.body.length && <p className="soft">Only its beginning is shown.</p>}</details></div>
            <div className="row"><Copy text={letter.body} label="Copy the message" />
              <button type="button" className="btn" onClick={() => setAsking({ letters: [letter], word: 'replay' })}><Icon name="retry" />Replay…</button>
              <button type="button" className="btn danger" onClick={() => setAsking({ letters: [letter], word: 'discard' })}><Icon name="no" />Discard…</button></div>
          </li>))}</ul>
      ))}
      {more > 0 && <p className="soft pad">{count(more)} more, later than these.</p>}
      {asking && <AskLetters {...asking} close={() => { setAsking(null); void letters.refetch() }} />}
    </section>
  )
}

const pretty = (body: string): unknown => { try { return JSON.parse(body) as unknown } catch { return body } }

type Word = 'replay' | 'discard'

/** Asks for them one after the other. A replayed one that nobody can read comes back under another id: that is looked for before it is called done. */
function AskLetters({ letters, word, close }: { letters: Letter[]; word: Word; close: () => void }) {
  const [state, setState] = useState<'asking' | 'busy' | 'watching' | 'done'>('asking')
  const [done, setDone] = useState(0)
  const [back, setBack] = useState<Letter[]>([])
  const [faults, setFaults] = useState<{ letter: Letter; message: string }[]>([])
  const one = letters.length === 1 ? letters[0]! : null
  const replay = word === 'replay'
  const run = async (reason: string) => {
    setState('busy')
    const went: Letter[] = []
    for (const letter of letters) {
      try {
        const options = { params: { path: { id: letter.id } }, body: { reason } }
        await ask(replay ? api.POST('/api/v1/deadletters/{id}/replay', options) : api.POST('/api/v1/deadletters/{id}/discard', options))
        went.push(letter)
        setDone(went.length)
      } catch (fault) { setFaults(old => [...old, { letter, message: asError(fault).message }]) }
    }
    if (replay && went.length > 0) {
      setState('watching')
      const known = new Set(letters.map(letter => letter.id))
      const same = (a: Letter, b: Letter) => a.queue === b.queue && a.body === b.body
      for (let look = 0; look < 6; look++) {
        await new Promise(resolve => setTimeout(resolve, 700))
        try {
          const now = (await ask(api.GET('/api/v1/deadletters', { params: { query: { limit: 200 } } }))).items.filter(letter => !known.has(letter.id) && went.some(each => same(each, letter)))
          setBack(now)
          if (now.length >= went.length) break
        } catch { /* It is looked for again. */ }
      }
    }
    setState('done')
  }
  const title: ReactNode = `${replay ? 'Replay' : 'Discard'} ${one ? 'a dead letter' : `${letters.length} dead letters`}`
  const queues = [...new Set(letters.map(letter => letter.queue))].join(', ')
  return (
    <Dialog open close={close} title={title}>
      {state === 'asking' ? <ReasonForm word={one ? (replay ? 'Replay' : 'Discard') : `${replay ? 'Replay' : 'Discard'} ${letters.length}`} icon={replay ? 'retry' : 'no'} danger={!replay} kept="in the audit" busy={false} error={null} onDo={reason => void run(reason)}>
        <p className="soft">{replay ? <>Puts {one ? 'the message' : 'each message'} back on its queue, <span className="id">{queues}</span>, where whoever hears it takes it anew. If nothing was mended it comes back here.</> : <>Throws {one ? 'the message' : 'them'} away <b>for good</b>. No saga loses anything by it: what the engine waits for it asks for again.</>}</p>
      </ReasonForm> : (
        <div className="pad form">
          {!one && <progress max={letters.length} value={done + faults.length} aria-label="Progress" />}
          <p role="status"><b>{replay ? `${one ? 'Back' : `${done} back`} on ${queues}` : one && done === 1 ? 'Thrown away' : `${done} thrown away`}{state === 'busy' ? '…' : '.'}</b>{' '}
            {done === 0 && state !== 'busy' ? '' : state === 'watching' ? 'Looking whether it is read this time…' : state === 'done' && replay && (back.length === 0 ? `${one ? 'It was' : 'They were'} taken and did not come back.` : <span className="bad">{one ? 'It came back' : `${back.length} came back`}: {back[0]!.reason} Mend the sender, or discard {one ? 'it' : 'them'}.</span>)}</p>
          {faults.length > 0 && <ul className="faults">{faults.slice(0, 20).map(({ letter, message }) => <li key={letter.id}><span className="id">{letter.id}</span> <span className="bad">{message}</span></li>)}</ul>}
          <div className="row"><span className="grow" /><button type="button" className="btn primary" disabled={state === 'busy'} onClick={close}>Close</button></div>
        </div>)}
    </Dialog>
  )
}
