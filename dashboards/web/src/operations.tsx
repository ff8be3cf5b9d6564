// What was done to many at once, how far it is, and everything that operators did: who, to what, and why.
import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { acts, asError, ReasonForm } from './actions'
import { api, ask, type ApiError, type AuditEntry, type AuditPage, type Operation } from './api'
import { Bar, Progress, useOperation } from './bulk'
import { Icon, type IconName } from './icons'
import { useInterval } from './live'
import { Dialog, Empty, Live, PauseButton, Time, TimesSwitch, Trouble } from './parts'
import { to } from './route'
import { Head } from './shell'
import { count } from './time'

export function Operations({ id }: { id: string | undefined }) {
  const list = useQuery({ queryKey: ['operations'], retry: false, refetchInterval: useInterval(2500, 2500), queryFn: ({ signal }) => ask(api.GET('/api/v1/operations', { params: { query: { limit: 100 } }, signal })) })
  return (
    <>
      <Head title="Operations"><Live /><span className="grow" /><span className="wide"><TimesSwitch /></span><PauseButton /></Head>
      {id !== undefined && <One key={id} id={id} />}
      <section className="card" aria-label="Operations"><header><h2>Bulk operations</h2><small>started from the list with “all that match”, or by REST</small></header>
        {list.error ? <Trouble error={list.error as ApiError} /> : list.data && list.data.items.length === 0
          ? <Empty icon="ops" title="None yet">Select sagas in <a href="#/sagas">the list</a>, then “all that match”.</Empty>
          : list.data && <div className="scroll"><table className="cards ops"><thead><tr><th>Operation</th><th>Filter</th><th>Who and why</th><th>Progress</th><th className="num">Refused</th></tr></thead>
            <tbody>{list.data.items.map(each => <tr key={each.id} className={each.id === id ? 'on' : ''}><td><a href={to(['operations', each.id])}><b>{acts[each.action].word}</b></a> <small><Time at={each.startedAt} /></small></td><td className="most cut"><code title={filterText(each)}>{filterText(each)}</code></td><td className="fill" title={each.reason}><b>{each.by}</b>: {each.reason}</td><td><Bar operation={each} /></td><td className="num wide">{each.failed > 0 ? <b className="bad">{count(each.failed)}</b> : <small>0</small>}</td></tr>)}</tbody></table></div>}
      </section>
      <AuditList />
    </>
  )
}

const filterText = (operation: Operation) => Object.entries(operation.filter ?? {}).map(([key, value]) => `${key}=${String(value)}`).join(' ') || 'every saga'

function One({ id }: { id: string }) {
  const { data, error, refetch } = useOperation(id)
  const [stopping, setStopping] = useState(false)
  if (error) return <Trouble error={error as ApiError} />
  if (!data) return null
  return (
    <section className="card" aria-label={`Operation ${id}`}>
      <header><h2>{acts[data.action].word}</h2><span className="id cut">{id}</span><span className="grow" /><small><Time at={data.startedAt} /></small></header>
      <div className="pad form">
        <p>Asked by <b>{data.by}</b>: “{data.reason}”</p>
        <p className="soft">Filter: <code>{filterText(data)}</code></p>
        <Progress id={id} />
        {data.cancelledBy && <p>Stopped by <b>{data.cancelledBy}</b>: “{data.cancelReason}”. What was done stays done.</p>}
        {data.status === 'running' && <div><button type="button" className="btn danger" onClick={() => setStopping(true)}><Icon name="terminated" />Stop it…</button></div>}
      </div>
      {stopping && <Stop id={id} close={() => { setStopping(false); void refetch() }} />}
    </section>
  )
}

function Stop({ id, close }: { id: string; close: () => void }) {
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<Error | null>(null)
  const run = async (reason: string) => {
    setBusy(true)
    try { await ask(api.POST('/api/v1/operations/{id}/cancel', { params: { path: { id } }, body: { reason } })); close() } catch (fault) { setError(asError(fault)); setBusy(false) }
  }
  return <Dialog open close={close} title="Stop the operation"><ReasonForm word="Stop it" kept="in the audit" icon="terminated" danger busy={busy} error={error} onDo={reason => void run(reason)}><p className="soft">Sagas that were not asked yet are left as they are. <b>What it did stays done.</b></p></ReasonForm></Dialog>
}

// ---------- audit

const deeds: Record<AuditEntry['action'], [IconName, string]> = {
  ...Object.fromEntries(Object.entries(acts).map(([act, { icon, word }]) => [act, [icon, word]])) as Record<keyof typeof acts, [IconName, string]>,
  resolve: ['check', 'Resolve'], put: ['up', 'Put'], stop: ['terminated', 'Stop'], replay: ['retry', 'Replay'], discard: ['no', 'Discard'],
}

function AuditList() {
  const interval = useInterval(2500, 2500)
  const { data, error, fetchNextPage, hasNextPage, isFetchingNextPage } = useInfiniteQuery({
    queryKey: ['audit'], retry: false, initialPageParam: null as string | null,
    queryFn: ({ pageParam, signal }): Promise<AuditPage> => ask(api.GET('/api/v1/audit', { params: { query: { limit: 50, ...(pageParam === null ? {} : { cursor: pageParam }) } }, signal })),
    getNextPageParam: (page: AuditPage) => page.next, refetchInterval: query => ((query.state.data?.pages.length ?? 1) <= 1 ? interval : false),
  })
  const items = data?.pages.flatMap(page => page.items) ?? []
  return (
    <section className="card" aria-label="Audit"><header><h2>Who did what, and why</h2><small>a saga’s own history tells it too</small></header>
      {error ? <Trouble error={error as ApiError} /> : data && items.length === 0 ? <Empty icon="ops" title="Nobody did anything yet">What operators do to sagas, operations, definitions and dead letters is listed here.</Empty> : (
        <div className="scroll"><table className="cards audit"><thead><tr><th>When</th><th>Who</th><th>Did</th><th>To</th><th>Why</th></tr></thead>
          <tbody>{items.map(each => {
            const [icon, word] = deeds[each.action]
            return <tr key={each.id}><td><Time at={each.at} /></td><td><b>{each.by}</b></td><td><Icon name={icon} /> {word}{each.kind === 'operation' && each.action !== 'stop' && ' all that match'}</td><td><To entry={each} /></td><td className="fill" title={each.reason}>{each.reason || <small>no reason given</small>}</td></tr>
          })}</tbody></table></div>
      )}
      {hasNextPage && <div className="row pad"><button type="button" className="btn" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>Older</button></div>}
    </section>
  )
}

function To({ entry: { kind, target, detail } }: { entry: AuditEntry }) {
  const more = detail !== null && <small> {detail}</small>
  switch (kind) {
    case 'saga': return <><a className="id" href={to(['sagas', target])}>{target}</a>{more}</>
    case 'operation': return <><a href={to(['operations', target])}>operation</a>{more}</>
    case 'definition': return <><a href={to(['definitions', target], detail?.startsWith('v') ? { version: detail.slice(1) } : {})}>{target}</a>{more}</>
    default: return <>dead letter{more}</>
  }
}
