// One saga: what is the matter first, then the graph, the timeline and the history of the same run, one selected step in all of them, and the replay.
import { useQueryClient } from '@tanstack/react-query'
import { Tabs } from 'radix-ui'
import { useCallback, useEffect, useMemo, useRef, useState, type ReactNode } from 'react'
import { ActionDialog, acts, type Act, type Doing } from './actions'
import { curl, type ApiError, type DefinitionStep, type HistoryEntry, type Saga, type SagaStep } from './api'
import { refresh, useDefinitions, useHistory, useSaga } from './data'
import { isEnded } from './filters'
import { Graph, participantOf, type NodeView } from './graph'
import { History, told } from './history'
import { Icon } from './icons'
import { useKeys } from './keys'
import { useSagaEvents } from './live'
import { Copy, Due, Empty, Flags, Json, Live, Menu, MenuItem, PauseButton, Segments, signOf, StepSign, Status, Strip, Time, TimesSwitch, Took, Trouble, stepSignOf, waits } from './parts'
import { amend, go, to, useRoute } from './route'
import { isSecond, lanes, shapes as shapesOf, tell, type Attempt, type Lane, type Run, type Shape } from './run'
import { Tags } from './sagas'
import { progress, story } from './story'
import { Timeline } from './timeline'
import { duration, exact, isoDuration } from './time'

export function SagaScreen({ id }: { id: string }) {
  const saga = useSaga(id)
  const history = useHistory(id)
  useEffect(() => { document.title = `${id} · Sagas` }, [id])
  if (saga.error) return <><Crumb id={id} /><Trouble error={saga.error as ApiError} again={() => void saga.refetch()} /></>
  if (!saga.data || !history.data) return <><Crumb id={id} /><div className="loading" role="status">{history.error ? <Trouble error={history.error as ApiError} /> : 'Loading…'}</div></>
  return <Loaded saga={saga.data} history={history.data} />
}

const Crumb = ({ id, children }: { id: string; children?: ReactNode }) => <div className="head"><a className="crumb" href="#/sagas">Sagas</a><small>/</small><h1 className="id">{id}</h1><Copy text={id} label="Copy id" />{children}</div>

function Loaded({ saga, history }: { saga: Saga; history: HistoryEntry[] }) {
  const { query } = useRoute()
  const client = useQueryClient()
  const { data: definitions } = useDefinitions()
  const definition = definitions?.items.find(each => each.name === saga.definition && each.version === saga.version)
  const steps = useMemo(() => definition?.steps ?? asSteps(saga), [definition, saga])
  const shapes = useMemo(() => shapesOf(steps, definition?.pivot ?? null), [steps, definition])
  const ended = isEnded(saga.status)
  const state = useSagaEvents(saga.id, ended, () => void refresh(client, saga.id).catch(() => undefined))
  const [doing, setDoing] = useState<Doing | null>(null)

  const last = history.at(-1)?.seq ?? 0
  const asked = Number(query.get('at'))
  const at = query.has('at') && asked >= 1 && asked < last ? asked : null
  const run = useMemo(() => tell(history, at ?? undefined), [history, at])
  const whole = useMemo(() => (at === null ? run : tell(history)), [run, history, at])
  const selected = query.get('step')
  const select = useCallback((name: string | null) => amend({ step: name }), [])
  const toggle = useCallback((name: string) => amend({ step: name === new URLSearchParams(location.hash.split('?')[1]).get('step') ? null : name }), [])

  const views = useMemo(() => viewsOf(saga, run, shapes, at !== null), [saga, run, shapes, at])
  const ways = useMemo(() => waysOf(run, saga, shapes, at !== null), [run, saga, shapes, at])
  const committed = run.committedAt !== null
  const summary = at === null ? story(saga, run, shapes) : null
  const seek = useCallback((seq: number | null) => amend({ at: seq === null || seq >= last ? null : String(Math.max(1, seq)) }), [last])
  const nextAttempt = saga.steps.find(step => step.nextAttemptAt !== null)
  const at_ = saga.steps.find(step => step.stuck) ?? saga.steps.find(step => step.phase !== null)
  const asSummary = useMemo(() => ({ ...saga, committed: saga.committedAt !== null, step: at_?.name ?? null, phase: at_?.phase ?? null, stepError: at_?.error ?? null, attempts: at_?.attempts ?? null, nextAttemptAt: nextAttempt?.nextAttemptAt ?? null }), [saga, at_, nextAttempt])
  const act = (which: Act) => setDoing({ act: which, sagas: [asSummary] })
  const move = (by: number) => {
    const names = shapes.map(shape => shape.name)
    const i = selected === null ? -1 : names.indexOf(selected)
    select(names[Math.max(0, Math.min(names.length - 1, i === -1 && by < 0 ? names.length - 1 : i + by))] ?? null)
  }
  useKeys({
    j: () => move(1), k: () => move(-1), '[': () => seek((at ?? last) - 1), ']': () => seek(at === null ? null : at + 1),
    Escape: () => { if (at !== null) seek(null); else select(null) }, r: () => { if (saga.actions.includes('retry')) act('retry') }, u: () => go('#/sagas'),
  })
  const step = selected === null ? undefined : saga.steps.find(each => each.name === selected)

  return (
    <>
      <Crumb id={saga.id}><Status status={saga.status} pill>{progress(saga)}</Status><Flags saga={saga} /><span className="wide"><Strip shapes={shapes} saga={asSummary} short /></span><span className="grow" /><Live state={state} />
        <span className="wide"><TimesSwitch /></span>{!ended && <PauseButton />}
        <Copy text={() => curl('GET', `/api/v1/sagas/${encodeURIComponent(saga.id)}`)} label="Copy as curl">Copy as curl</Copy>
        <a className="btn" href={to(['definitions', saga.definition], { start: '', version: String(saga.version), like: saga.id })}>Start like this one</a></Crumb>
      <dl className="facts">
        <div><dt>Definition</dt><dd><a href={to(['definitions', saga.definition], { version: String(saga.version) })}>{saga.definition} v{saga.version}</a></dd></div>
        <div><dt>Started</dt><dd><Time at={saga.startedAt} millis /></dd></div>
        <div><dt>{ended ? 'Took' : 'Running for'}</dt><dd><Took from={saga.startedAt} to={saga.finishedAt} /></dd></div>
        {saga.committedAt && <div><dt>Committed after</dt><dd>{duration(Date.parse(saga.committedAt) - Date.parse(saga.startedAt))}</dd></div>}
        <div><dt>Attempts</dt><dd>{whole.attempts.length}{repeated(whole)}</dd></div>
        {Object.keys(saga.tags).length > 0 && <div><dt>Tags</dt><dd><Tags tags={saga.tags} /></dd></div>}
        {saga.priority !== 5 && <div><dt>Priority</dt><dd>{saga.priority}</dd></div>}
        {!ended && saga.waitingFor && <div><dt>Waits for</dt><dd>{waits(saga.waitingFor)}</dd></div>}
        {saga.traceId && <div><dt>Trace</dt><dd className="id" title={saga.traceId}>{saga.traceId.slice(0, 8)}… <Copy text={saga.traceId} label="Copy trace id" /></dd></div>}
      </dl>
      {summary && (
        <section className="alert" data-p={summary.tone} aria-label="What is the matter"><Icon name={summary.icon} />
          <div><h2><em>{summary.what}</em> {summary.then}</h2><p>{summary.more.join(' ')}{summary.dueAt && <> Next attempt <b><Due at={summary.dueAt} /></b>.</>}</p></div>
          {summary.seq !== null && <div className="row"><button type="button" className="btn" onClick={() => seek(history.find(each => each.seq > summary.seq! && (each.outcome === 'refused' || each.outcome === 'error' || each.event === 'timed-out') && each.step === whole.attempts.find(a => a.seq === summary.seq)?.step)?.seq ?? summary.seq)}>See it happen</button></div>}
        </section>
      )}
      <Replay history={history} at={at} run={whole} seek={seek} />
      <div className={step ? 'split' : ''}>
        <div>
          <section className="card" aria-label="Graph and timeline">
            <header><h2>Steps{at !== null && `, as they stood at event ${at}`}</h2><span className="grow" /><GraphLegend /></header>
            {shapes.length === 0 ? <Empty title="No steps" /> : <Graph id={`${saga.definition} ${saga.version}${definition ? '' : ' unknown'}`} shapes={shapes} steps={steps} views={views} ways={ways} committed={committed}
              commitText={committed ? <>Committed <Time at={run.committedAt} /></> : run.turnedBack || (ended && at === null) ? 'Commit point, not reached' : 'Commit point ahead'} selected={selected} onSelect={toggle} />}
            <Timeline run={whole} then={at === null ? null : run} saga={saga} shapes={shapes} selected={selected} onSelect={toggle} />
          </section>
          <History id={saga.id} entries={history} selected={selected} at={at} onSelect={entry => { seek(entry.seq); if (entry.step) select(entry.step) }} />
          <Payloads saga={saga} />
        </div>
        {step && <StepPanel key={step.name} saga={saga} step={step} definition={steps.find(each => each.name === step.name.replace(/\[\d+\]$/, ''))} run={run} replaying={at !== null} history={history} close={() => select(null)} act={setDoing} onRetry={() => act('retry')} seek={seek} />}
      </div>
      {!ended && <ActionBar saga={saga} turned={whole.turnedBack !== null} act={act} resolve={name => setDoing({ act: 'resolve', saga, step: name })} />}
      <ActionDialog doing={doing} close={() => setDoing(null)} />
    </>
  )
}

const repeated = (run: Run) => {
  const extra = run.attempts.filter(attempt => attempt.n > 1).length
  return extra === 0 ? ', none repeated' : `, ${extra} repeated`
}

/** A definition that is no longer loaded is drawn from what the saga itself knows. */
const asSteps = (saga: Saga): DefinitionStep[] => saga.steps.map(step => ({
  name: step.name, kind: step.kind ?? 'do', after: step.after, pivot: false, readOnly: false, ...(step.kind === 'tcc' ? { try: '' } : step.status.startsWith('Compensat') ? { compensate: '' } : {}),
}))

export const GraphLegend = () => <span className="legend wide"><span data-p="try"><i />try, do</span><span data-p="keep"><i />kept</span><span data-p="undo"><i className="bk" />undo</span><span data-p="fault"><i className="e" />refused, error</span><span data-p="wait"><i />waits</span></span>

// ---------- the run on the graph

function viewsOf(saga: Saga, run: Run, shapes: readonly Shape[], replaying: boolean): Map<string, NodeView> {
  const branches = Map.groupBy(saga.steps.filter(step => /\[\d+\]$/.test(step.name)), step => step.name.replace(/\[\d+\]$/, ''))
  return new Map(shapes.map((shape): [string, NodeView] => {
    const step = saga.steps.find(each => each.name === shape.name)
    const told = run.steps.get(shape.name)
    const status = (replaying ? told?.status : step?.status) ?? 'Pending'
    const stuck = replaying ? told?.stuck ?? false : step?.stuck ?? false
    const first = told?.first ?? []
    const heard = first.length === 0 ? step?.result !== null : first.some(attempt => attempt.outcome === 'ok')
    const undoing = run.turnedBack !== null
    const [one, two] = lanes(shape, status, { committed: run.committedAt !== null && !undoing, stuck, heard })
    const due = replaying ? null : step?.nextAttemptAt ?? null
    const lines = branches.get(shape.name)
    const oneNote = lines ? `${lines.filter(line => line.finishedAt !== null).length} of ${lines.length}` : note(one, first, two !== null && (told?.second.length ?? 0) > 0 ? null : due)
    return [shape.name, { first: { lane: one, note: oneNote }, second: two && { lane: two, note: note(two, told?.second ?? [], due) }, future: status === 'Pending' || status === 'Skipped' }]
  }))
}

function note(lane: Lane, attempts: readonly Attempt[], due: string | null): ReactNode {
  const last = attempts.at(-1)
  if (!last || lane.state === 'idle') return null
  if (last.outcome === 'refused') return last.n > 1 ? `refused, #${last.n}` : 'refused'
  if (last.outcome === 'open') return last.accepted ? 'accepted, waits' : `#${last.n}`
  if (due !== null) return <>#{last.n + 1} <Due at={due} /></>
  if (last.outcome === 'ok' && last.endAt !== null) return duration(last.endAt - last.sentAt)
  if (last.outcome === 'resolved') return 'by an operator'
  return last.outcome === 'lost' ? `no answer, #${last.n}` : `failed, #${last.n}`
}

function waysOf(run: Run, saga: Saga, shapes: readonly Shape[], replaying: boolean) {
  const status = (name: string) => (replaying ? run.steps.get(name)?.status : saga.steps.find(step => step.name === name)?.status) ?? 'Pending'
  const sent = (name: string) => (run.steps.get(name)?.first.length ?? 0) > 0
  const undo = (name: string) => run.steps.get(name)?.second.some(attempt => attempt.phase !== 'confirm') ?? false
  const committed = run.committedAt !== null
  const undoable = new Set(shapes.filter(shape => shape.second !== null).map(shape => shape.name))
  const turned = run.turnedBack?.step ?? null
  return {
    forward: (_: string, name: string): 'future' | 'past' | 'kept' => (!sent(name) ? 'future' : committed ? 'kept' : 'past'),
    back: (from: string, name: string): 'back' | 'back run' | null =>
      undoable.has(from) && undo(from) && (undo(name) || name === turned) ? (status(from) === 'Cancelling' || status(from) === 'Compensating' ? 'back run' : 'back') : null,
    turned,
  }
}

// ---------- replay

function Replay({ history, at, run, seek }: { history: readonly HistoryEntry[]; at: number | null; run: Run; seek: (seq: number | null) => void }) {
  const [playing, setPlaying] = useState(false)
  const last = history.at(-1)?.seq ?? 1
  const position = at ?? last
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  useEffect(() => {
    if (!playing) return
    timer.current = setTimeout(() => { if (position >= last) setPlaying(false); else seek(position + 1) }, 550)
    return () => clearTimeout(timer.current)
  }, [playing, position, last, seek])
  const play = () => { if (!playing && at === null) seek(1); setPlaying(!playing) }
  useKeys({ ' ': play })
  const entry = history.find(each => each.seq === position)
  const commit = history.find(each => each.event === 'committed')?.seq
  const turned = run.turnedBack?.seq
  const percent = (seq: number) => (last <= 1 ? 0 : ((seq - 1) / (last - 1)) * 100)
  // Thousands of ticks would be a solid bar: some of them say the same.
  const every = Math.ceil(history.length / 240)
  return (
    <section className="card replay" aria-label="Replay">
      <div className="row"><button type="button" className="btn icon bare" aria-label="One event back" disabled={position <= 1} onClick={() => seek(position - 1)}><Icon name="prev" /></button>
        <button type="button" className="btn icon" aria-label={playing ? 'Stop' : 'Replay from its history'} onClick={play}><Icon name={playing ? 'paused' : 'play'} /></button>
        <button type="button" className="btn icon bare" aria-label="One event on" disabled={at === null} onClick={() => seek(position + 1)}><Icon name="next" /></button></div>
      <div className="replaytext"><b>{at === null ? `${last} events` : `Event ${at} of ${last}`}</b><small className="cut">{at === null || !entry ? 'the run as it stands' : `${entry.step ?? 'saga'}: ${told(entry).text}`}</small></div>
      <div className="track">
        {history.filter((each, i) => i % every === 0 || each.event === 'committed').map(each => <i key={each.seq} className="ev" data-p={told(each).tone === 'none' ? (isSecond((each.phase ?? 'do') as Attempt['phase']) ? 'none' : 'try') : told(each).tone} style={{ left: `${percent(each.seq)}%` }} />)}
        {commit !== undefined && <i className="cl" style={{ left: `${percent(commit)}%` }}><span>commit</span></i>}
        {turned !== undefined && <i className="cl turn" style={{ left: `${percent(turned)}%` }}><span>turned back</span></i>}
        <i className="done" style={{ width: `${percent(position)}%` }} />
        <input type="range" min={1} max={last} value={position} aria-label="Replay: event" aria-valuetext={entry ? `Event ${position}: ${entry.step ?? 'saga'} ${told(entry).text}` : undefined} onChange={event => seek(Number(event.target.value))} />
      </div>
      <button type="button" className="btn" disabled={at === null} onClick={() => { setPlaying(false); seek(null) }}>Back to now</button>
    </section>
  )
}

// ---------- panel

function StepPanel({ saga, step, definition, run, replaying, history, close, act, onRetry, seek }: {
  saga: Saga; step: SagaStep; definition: DefinitionStep | undefined; run: Run; replaying: boolean; history: readonly HistoryEntry[]
  close: () => void; act: (doing: Doing) => void; onRetry: () => void; seek: (seq: number | null) => void
}) {
  const told = run.steps.get(step.name)
  const status = replaying ? told?.status ?? 'Pending' : step.status
  const stuck = replaying ? told?.stuck ?? false : step.stuck
  const { tone } = stepSignOf(status, stuck)
  const resolvable = !replaying && saga.actions.includes('resolve') && (step.stuck || step.failures > 0)
  const retry = definition?.retry
  const undo = step.status === 'Cancelling' || step.status === 'Compensating' || step.status === 'Confirming'
  const mine = history.filter(entry => entry.step === step.name)
  const waits = replaying ? null : step.nextAttemptAt
  return (
    <aside className="card panel" aria-label={`Step ${step.name}`}>
      <header data-p={tone}><h2 className="cut" title={step.name}>{step.name}</h2><StepSign status={status} stuck={stuck} /><span className="grow" /><button type="button" className="btn bare icon" aria-label="Close the step" onClick={close}><Icon name="x" /></button></header>
      <Tabs.Root defaultValue="now">
        <Tabs.List className="tabs" aria-label="Step">{([['now', replaying ? 'Then' : 'Now'], ['command', 'Command'], ['result', 'Result'], ['history', 'History'], ['definition', 'Definition']] as const).map(([value, word]) => <Tabs.Trigger key={value} value={value}>{word}</Tabs.Trigger>)}</Tabs.List>
        <Tabs.Content value="now" tabIndex={-1}>
          <section><dl className="kv">
            <dt>Participant</dt><dd>{participantOf(definition) || 'the engine itself'}{(definition?.try ?? definition?.do)?.startsWith('bus:') ? ', over the bus' : (definition?.try ?? definition?.do)?.startsWith('http') ? ', over HTTP' : ''}</dd>
            {step.startedAt && <><dt>Started</dt><dd><Time at={step.startedAt} millis /></dd></>}
            {step.finishedAt && !replaying && <><dt>Finished</dt><dd><Time at={step.finishedAt} millis /></dd></>}
            {waits && <><dt>Next attempt</dt><dd>{step.attempts + 1}, <Due at={waits} /></dd></>}
            {step.timesOutAt && !replaying && <><dt>Given up</dt><dd><Due at={step.timesOutAt} />, if no answer comes</dd></>}
            {retry && waits && <><dt>Policy</dt><dd>first {words(retry.first)}, × {retry.factor}, at most {words(retry.max)}; {undo ? 'never given up' : `${retry.attempts} attempts`}</dd></>}
          </dl>
          {(resolvable || waits) && <div className="row wrap acts">{waits && saga.actions.includes('retry') && <button type="button" className="btn" onClick={onRetry}><Icon name="retry" />Retry now…</button>}{resolvable && <button type="button" className="btn" onClick={() => act({ act: 'resolve', saga, step: step.name })}>Resolve…</button>}</div>}</section>
          {(told?.second.length ?? 0) > 0 && <Attempts title={`Second phase: ${told!.second[0]!.phase}`} attempts={told!.second} due={waits} seek={seek} />}
          {(told?.first.length ?? 0) > 0 ? <Attempts title={`First phase: ${told!.first[0]!.phase}`} attempts={told!.first} due={(told?.second.length ?? 0) > 0 ? null : waits} seek={seek} /> : <section><p className="soft">Nothing has been sent{replaying ? ' by then' : ''}{definition && definition.after.length > 0 && status === 'Pending' ? `: it comes after ${definition.after.join(' and ')}` : ''}.</p></section>}
          {step.error && !replaying && <section><h3>Last error</h3><p><code>{step.error.code}</code> <span className="soft">{step.error.message}</span></p></section>}
          <section><dl className="kv"><dt>Key</dt><dd className="id">{saga.id}/{step.name}/{told?.second.at(-1)?.phase ?? told?.first.at(-1)?.phase ?? (definition?.try === undefined ? 'do' : 'try')}</dd>{saga.traceId && <><dt>Trace</dt><dd className="id">{saga.traceId}</dd></>}</dl></section>
        </Tabs.Content>
        <Tabs.Content value="command" tabIndex={-1}>
          <section><dl className="kv">{(['check', 'try', 'confirm', 'cancel', 'do', 'compensate'] as const).filter(phase => definition?.[phase]).map(phase => <Entry key={phase} name={phase}>{definition![phase]}</Entry>)}</dl></section>
          <section><h3>Sent<span className="grow" />{step.command !== null && <Copy text={() => JSON.stringify(step.command, null, 2)} label="Copy the command" />}</h3>{step.command === null ? <p className="soft">Nothing yet{definition && definition.after.length > 0 ? `: it is made from the input and the results of ${definition.after.join(', ')}` : ''}.</p> : <Json value={step.command} label={`Command of ${step.name}`} />}</section>
        </Tabs.Content>
        <Tabs.Content value="result" tabIndex={-1}>
          <section><h3>Result<span className="grow" />{step.result !== null && <Copy text={() => JSON.stringify(step.result, null, 2)} label="Copy the result" />}</h3>{step.result === null ? <p className="soft">None{step.finishedAt === null ? ' yet' : ''}.</p> : <Json value={step.result} label={`Result of ${step.name}`} />}</section>
        </Tabs.Content>
        <Tabs.Content value="history" tabIndex={-1}><ol className="atts pad">{mine.toReversed().slice(0, 200).map(entry => <EventLine key={entry.seq} entry={entry} />)}</ol></Tabs.Content>
        <Tabs.Content value="definition" tabIndex={-1}><section>{definition ? <Json value={definition} label={`Definition of ${step.name}`} /> : <p className="soft">Version {saga.version} of {saga.definition} is not loaded.</p>}</section></Tabs.Content>
      </Tabs.Root>
    </aside>
  )
}

const Entry = ({ name, children }: { name: string; children: ReactNode }) => <><dt>{name}</dt><dd className="id">{children}</dd></>
const words = (iso: string) => { const ms = isoDuration(iso); return ms === null ? iso : exact(ms) }

function EventLine({ entry }: { entry: HistoryEntry }) {
  const { tone, icon, text, more } = told(entry)
  return <li data-p={tone}><Icon name={icon} /><b>{entry.attempt}</b><span>{text}{more && <em>{more}</em>}</span><small><Time at={entry.time} millis /></small></li>
}

function Attempts({ title, attempts, due, seek }: { title: string; attempts: readonly Attempt[]; due: string | null; seek: (seq: number | null) => void }) {
  const shown = attempts.toReversed().slice(0, 100)
  const signs = { open: ['none', 'running'], ok: ['keep', 'check'], refused: ['fault', 'refused'], error: ['fault', 'error'], busy: ['wait', 'waiting'], lost: ['fault', 'unknown'], resolved: ['none', 'check'] } as const
  const text = (a: Attempt) => ({ open: a.accepted ? 'accepted, the outcome comes later' : 'sent, no answer yet', ok: 'ok', refused: 'refused', error: 'error', busy: 'busy, asked again', lost: 'no answer', resolved: 'settled by an operator' })[a.outcome]
  return (
    <section><h3>{title}</h3><ol className="atts">
      {due !== null && <li data-p="wait"><Icon name="waiting" /><b>{(attempts.at(-1)?.n ?? 0) + 1}</b><span>waits</span><small><Due at={due} /></small></li>}
      {shown.map(a => {
        const [tone, icon] = signs[a.outcome]
        return <li key={a.seq} data-p={a.outcome === 'ok' && (a.phase === 'cancel' || a.phase === 'compensate') ? 'undo' : a.outcome === 'ok' && !isSecond(a.phase) ? 'try' : tone}><Icon name={icon} /><b>{a.n}</b><button type="button" className="link plain" title="See the saga as it stood then" onClick={() => seek(a.seq)}>{text(a)}{a.detail && <em>{a.detail}</em>}</button><small>{a.endAt === null ? '' : duration(a.endAt - a.sentAt)}</small></li>
      })}
    </ol></section>
  )
}

// ---------- payloads, actions

function Payloads({ saga }: { saga: Saga }) {
  const [which, setWhich] = useState<'input' | 'result'>('input')
  return (
    <section className="card" aria-label="Input and result"><header><h2>{which === 'input' ? 'Input' : 'Result'}</h2><span className="grow" /><Segments label="Payload" value={which} onChange={setWhich} options={[['input', 'Input'], ['result', 'Result']]} /><Copy text={() => JSON.stringify(saga[which], null, 2)} label={`Copy the ${which}`} /></header>
      <div className="pad">{saga[which] === null && which === 'result' ? <p className="soft">{saga.status === 'Completed' ? 'null' : 'None: it has not completed.'}</p> : <Json value={saga[which]} label={which} />}</div></section>
  )
}

function ActionBar({ saga, turned, act, resolve }: { saga: Saga; turned: boolean; act: (which: Act) => void; resolve: (step: string) => void }) {
  const stuck = saga.actions.includes('resolve') ? saga.steps.filter(step => step.phase !== null && (step.stuck || step.failures > 0)) : []
  const wait = saga.steps.filter(step => step.nextAttemptAt !== null)
  const { tone } = signOf(saga.status)
  const may = (['retry', 'pause', 'resume', 'cancel', 'terminate'] as const).filter(each => saga.actions.includes(each) && (each !== 'cancel' || !turned))
  const lead = may.find(each => each === 'resume') ?? may.find(each => each === 'retry') ?? null
  const rest = may.filter(each => each !== lead)
  return (
    <div className="act" role="region" aria-label="Actions" data-p={tone}>
      <p className="wide">{lead === 'retry' ? <><b>Retry now</b> sends the next attempt of {wait.map(step => step.name).join(', ')} at once,<br />not when it is due. Nothing else changes.</> : lead === 'resume' ? <><b>Resume</b> lets it go on where it was held.</> : <>It goes on by itself.<br /><span className="soft">{saga.committedAt ? 'Past its commit point: it can no longer be cancelled.' : turned ? 'It has turned back: what it did is being undone.' : rest.includes('cancel') ? 'Cancel turns it back.' : 'The outcome of its pivot is open: it cannot be cancelled now.'}</span></>}</p>
      <span className="grow" />
      {lead && <button type="button" className="btn primary" onClick={() => act(lead)}><Icon name={acts[lead].icon} />{acts[lead].word}…</button>}
      {rest.map(each => <button key={each} type="button" className={`btn wide${acts[each].danger ? ' danger' : ''}`} onClick={() => act(each)}><Icon name={acts[each].icon} />{acts[each].word}…</button>)}
      {stuck.map(step => <button key={step.name} type="button" className="btn wide" onClick={() => resolve(step.name)}>Resolve {step.name}…</button>)}
      <span className="only-narrow"><Menu label="More actions" className="btn icon" trigger={<Icon name="dots" />}>
        {rest.map(each => <MenuItem key={each} danger={acts[each].danger ?? false} onSelect={() => act(each)}><Icon name={acts[each].icon} />{acts[each].word}…</MenuItem>)}
        {stuck.map(step => <MenuItem key={step.name} onSelect={() => resolve(step.name)}>Resolve {step.name}…</MenuItem>)}
      </Menu></span>
    </div>
  )
}
