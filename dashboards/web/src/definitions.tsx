// What can be started: every definition with its graph, its versions, a form to start it, and the explorer's verdict.
import { useQuery } from '@tanstack/react-query'
import { useMemo, useState } from 'react'
import { api, ask, type ApiError, type Definition } from './api'
import { useCounts, useDefinitions } from './data'
import { isEnded, none, statuses } from './filters'
import { StartForm } from './form'
import { Graph, participantOf, plain, type NodeView } from './graph'
import { Icon } from './icons'
import { Copy, Empty, Json, Segments, Trouble } from './parts'
import { amend, to, useRoute } from './route'
import { shapes as shapesOf } from './run'
import { Head } from './shell'
import { count, exact, isoDuration } from './time'
import { useVerification, Verification } from './verify'
import { Compare, PutDefinition } from './versions'

export function Definitions({ name }: { name: string | undefined }) {
  const { query } = useRoute()
  return query.has('put') ? <PutDefinition like={name} /> : name === undefined ? <All /> : <One key={name} name={name} />
}

function All() {
  const { query } = useRoute()
  const { data, error, refetch } = useDefinitions()
  const starting = query.has('start')
  const names = [...Map.groupBy(data?.items ?? [], each => each.name)]
  return (
    <>
      <Head title={starting ? 'Start a saga' : 'Definitions'}><small>{starting ? 'of which definition?' : ''}</small><span className="grow" /><a className="btn" href={to(['definitions'], { put: '' })}><Icon name="up" />Put a definition…</a></Head>
      {error ? <Trouble error={error as ApiError} again={() => void refetch()} /> : data && names.length === 0 ? <section className="card"><Empty icon="graph" title="No definition is loaded">Register one with AddSaga in the host, or <a href={to(['definitions'], { put: '' })}>put one in JSON</a>.</Empty></section> : (
        <section className="card" aria-label="Definitions"><div className="scroll"><table className="cards defs">
          <thead><tr><th>Definition</th><th>Versions</th><th>Steps</th><th>Participants</th><th>Commit point</th><th className="num">In flight</th><th className="num">Stuck</th><th><span className="sr">Start</span></th></tr></thead>
          <tbody>{names.map(([name, versions]) => {
            const newest = versions.at(-1)!
            return (
              <tr key={name}>
                <td><a href={to(['definitions', name])}><b>{name}</b></a> {newest.source !== 'code' && <span className="flag">JSON</span>}</td>
                <td>{versions.map(each => <a key={each.version} href={to(['definitions', name], { version: String(each.version) })}>v{each.version} </a>)}</td>
                <td className="wide">{newest.steps.length}</td>
                <td className="wide">{[...new Set(newest.steps.map(participantOf).filter(Boolean))].join(', ')}</td>
                <td>{newest.pivot === null ? <small>when all succeeded</small> : <>{newest.pivot} succeeds</>}</td>
                <InFlight name={name} />
                <td className="num"><a className="btn" href={to(['definitions', name], { start: '' })}><Icon name="plus" />Start</a></td>
              </tr>
            )
          })}</tbody>
        </table></div></section>
      )}
    </>
  )
}

function InFlight({ name }: { name: string }) {
  const { data } = useCounts(useMemo(() => ({ ...none, definition: name }), [name]))
  const open = data && statuses.filter(status => !isEnded(status)).reduce((sum, status) => sum + data.byStatus[status], 0)
  return <><td className="num"><a href={to(['sagas'], { definition: name, status: 'Running,Confirming,Compensating,Stuck' })}>{open === undefined ? '' : count(open)}</a></td><td className="num wide">{data && data.byStatus.Stuck > 0 ? <b className="bad">{data.byStatus.Stuck}</b> : <small>0</small>}</td></>
}

const views = [['graph', 'Graph'], ['json', 'JSON'], ['mermaid', 'Mermaid'], ['compare', 'Compare']] as const
type View = typeof views[number][0]

function One({ name }: { name: string }) {
  const { query } = useRoute()
  const version = Number(query.get('version')) || undefined
  const { data, error, refetch } = useQuery({
    queryKey: ['definition', name, version], refetchInterval: 5000, queryFn: ({ signal }) => ask(api.GET('/api/v1/definitions/{name}', { params: { path: { name }, query: version === undefined ? {} : { version } }, signal })),
  })
  const view: View = views.find(([each]) => each === query.get('view'))?.[0] ?? 'graph'
  const verifying = useVerification(name, data?.version ?? 0)
  if (error && !data) return <><Head title={name} /><Trouble error={error as ApiError} again={() => void refetch()} /></>
  if (!data) return <><Head title={name} /><div className="loading">Loading…</div></>
  const participants = [...new Set(data.steps.map(participantOf).filter(Boolean))]
  const timeout = isoDuration(data.timeout)
  return (
    <>
      <Head title={name}><span className="flag">v{data.version}</span>{data.source !== 'code' && <span className="flag">JSON</span>}<span className="grow" />
        <Segments label="Drawn as" value={view} onChange={next => amend({ view: next === 'graph' ? null : next })} options={views.filter(([each]) => each !== 'compare' || data.versions.length > 1)} />
        {data.json !== null && <a className="btn" href={to(['definitions', name], { put: '' })}><Icon name="plus" />New version…</a>}
        <button type="button" className="btn" disabled={verifying.begunAt !== null} onClick={verifying.run}><Icon name="shield" />{verifying.begunAt !== null ? 'Verifying…' : 'Verify'}</button></Head>
      <dl className="facts">
        <div><dt>Steps</dt><dd>{data.steps.length} on {participants.length} participant{participants.length === 1 ? '' : 's'}</dd></div>
        <div><dt>Times out</dt><dd>{timeout === null ? 'never' : `after ${exact(timeout)}`}</dd></div>
        <div><dt>Commit point</dt><dd>{data.pivot === null ? 'when every step has succeeded' : `${data.pivot} succeeds`}</dd></div>
        <div><dt>Fingerprint</dt><dd className="id" title={data.fingerprint}>{data.fingerprint.slice(0, 12)}</dd></div>
      </dl>
      <div className="split">
        <div>
          <section className="card" aria-label="Graph"><header><h2>{views.find(([each]) => each === view)![1]}</h2><span className="grow" />{(view === 'json' || view === 'mermaid') && <Copy text={() => (view === 'json' ? JSON.stringify(data.json ?? data, null, 2) : document.getElementById('mermaid')?.textContent ?? '')} label="Copy" />}</header>
            {view === 'graph' ? <Drawing definition={data} /> : view === 'json' ? <Json value={data.json ?? data} label="The definition" /> : view === 'compare' ? <Compare definition={data} against={Number(query.get('with')) || null} /> : <Mermaid name={name} version={data.version} />}
          </section>
          <Verification name={name} verifying={verifying} steps={data.steps} />
          <Steps definition={data} />
        </div>
        <div>
          <Versions definition={data} />
          <StartForm key={`${data.version} ${query.get('like')}`} definition={data} like={query.get('like')} focus={query.has('start')} />
        </div>
      </div>
    </>
  )
}

const nowhere = new Map<string, NodeView>()

function Drawing({ definition }: { definition: Definition }) {
  const shapes = useMemo(() => shapesOf(definition.steps, definition.pivot), [definition])
  const [selected, setSelected] = useState<string | null>(null)
  const views = useMemo(() => new Map(shapes.map((shape): [string, NodeView] => [shape.name, { ...plain(shape, definition.steps), future: false, badges: badges(shape.name, definition) }])), [shapes, definition])
  const step = definition.steps.find(each => each.name === selected)
  return (
    <>
      <Graph id={`${definition.name} ${definition.version}`} shapes={shapes} steps={definition.steps} views={views ?? nowhere} ways={null} committed={false}
        commitText={definition.pivot === null ? 'Commit point: every step succeeded' : `Commit point: ${definition.pivot} succeeds`} selected={selected} onSelect={name => setSelected(name === selected ? null : name)} />
      {step && <div className="pad"><Json value={step} label={`Step ${step.name}`} /></div>}
    </>
  )
}

/** How many sagas are at a step: in its first phase, undoing or confirming, stuck. */
function badges(name: string, definition: Definition): NonNullable<NodeView['badges']> {
  const at = definition.inFlight.steps.find(step => step.name === name)
  if (!at) return []
  const all: NonNullable<NodeView['badges']> = [
    { tone: 'fault', text: count(at.stuck), label: `${at.stuck} stuck` }, { tone: 'undo', text: count(at.second), label: `${at.second} in their second phase` }, { tone: 'try', text: count(at.first), label: `${at.first} in their first phase` },
  ]
  return all.filter((_, i) => [at.stuck, at.second, at.first][i]! > 0)
}

function Mermaid({ name, version }: { name: string; version: number }) {
  const { data } = useQuery({ queryKey: ['mermaid', name, version], staleTime: Infinity, queryFn: ({ signal }) => ask(api.GET('/api/v1/definitions/{name}/graph', { params: { path: { name }, query: { format: 'mermaid', version } }, parseAs: 'text', signal })) })
  return <pre className="json" id="mermaid" tabIndex={0} aria-label="Mermaid">{data as unknown as string}</pre>
}

function Steps({ definition }: { definition: Definition }) {
  return (
    <section className="card" aria-label="Steps"><header><h2>Steps</h2></header><div className="scroll"><table className="cards steps">
      <thead><tr><th>Step</th><th>Comes after</th><th>Participant</th><th>Timeout</th><th>Retry</th></tr></thead>
      <tbody>{definition.steps.map(step => <tr key={step.name}><td><b>{step.name}</b></td><td>{step.after.join(', ') || <small>the start</small>}</td><td>{participantOf(step)}</td><td>{spoken(step.timeout)}</td><td>{step.retry && <>{step.retry.attempts} attempts, first after {spoken(step.retry.first)}, × {step.retry.factor}, at most {spoken(step.retry.max)}</>}</td></tr>)}</tbody>
    </table></div></section>
  )
}

const spoken = (iso: string | undefined) => { const ms = isoDuration(iso); return ms === null ? '' : exact(ms) }

function Versions({ definition }: { definition: Definition }) {
  const newest = Math.max(...definition.versions)
  return (
    <section className="card" aria-label="Versions"><header><h2>Versions</h2></header><table>
      <thead><tr><th>Version</th><th className="num">In flight</th></tr></thead>
      <tbody>{definition.versions.toReversed().map(version => <tr key={version} className={version === definition.version ? 'on' : ''}><td><a href={to(['definitions', definition.name], { version: String(version) })} aria-current={version === definition.version ? 'true' : undefined}><b>v{version}</b></a> {version === newest && <small>current</small>}</td><td className="num">{count(definition.inFlight.byVersion.find(each => each.version === version)?.sagas ?? 0)}</td></tr>)}</tbody>
    </table></section>
  )
}
