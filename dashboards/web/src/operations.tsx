// What was done to many at once, and by whom and why.
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { asError, ReasonForm } from './actions'
import type { ApiError } from './api'
import type { Operation } from './bulk'
import { Icon } from './icons'
import { useInterval } from './live'
import { Dialog, Empty, Live, PauseButton, Time, Trouble } from './parts'
import { request } from './rest'
import { to } from './route'
import { Head } from './shell'
import { count } from './time'

export function Operations({ id }: { id: string | undefined }) {
  const list = useQuery({ queryKey: ['operations'], retry: false, refetchInterval: useInterval(2500, 2500), queryFn: ({ signal }) => request<{ items: Operation[] }>('GET', '/api/v1/operations', undefined, signal) })
  return (
    <>
      <Head title="Operations"><Live /><span className="grow" /><PauseButton /></Head>
      {id !== undefined && <One key={id} id={id} />}
      <section className="card" aria-label="Operations"><header><h2>Bulk operations</h2><small>started from the list with “all that match”, or by REST</small></header>
        {list.error ? <Trouble error={list.error as ApiError} /> : list.data && list.data.items.length === 0
          ? <Empty icon="ops" title="None yet">Select sagas in <a href="#/sagas">the list</a>, then “all that match”.</Empty>
          : list.data && <div className="scroll"><table className="cards"><thead><tr><th>Operation</th><th>Filter</th><th>Who and why</th><th>Progress</th><th className="num">Failed</th></tr></thead>
            <tbody>{list.data.items.map(each => <tr key={each.id} className={each.id === id ? 'on' : ''}><td><a href={to(['operations', each.id])}><b>{each.action}</b> <span className="id">{each.id}</span></a></td><td><code>{filterText(each)}</code></td><td className="fill">{each.by && <b>{each.by}: </b>}{each.reason}</td><td><Bar operation={each} /></td><td className="num">{each.failed > 0 ? <b className="bad">{count(each.failed)}</b> : <small>0</small>}</td></tr>)}</tbody></table></div>}
      </section>
      <section className="card" aria-label="Audit"><header><h2>Who did what</h2></header><div className="pad soft">Every action on a saga is kept in that saga’s history with its time, who asked, and the reason: open a saga, then History, “Outcomes”.</div></section>
    </>
  )
}

const filterText = (operation: Operation) => Object.entries(operation.filter ?? {}).map(([key, value]) => `${key}=${String(value)}`).join(' ') || 'every saga'

const Bar = ({ operation }: { operation: Operation }) => <span className="row"><progress max={Math.max(1, operation.matched)} value={operation.done + operation.failed} aria-label={`Progress of ${operation.id}`} /><small>{count(operation.done + operation.failed)} of {count(operation.matched)}, {operation.status}</small></span>

function One({ id }: { id: string }) {
  const interval = useInterval(1000, 1000)
  const { data, error, refetch } = useQuery<Operation>({ queryKey: ['operation', id], retry: false, refetchInterval: query => (query.state.data?.status === 'running' ? interval : false), queryFn: ({ signal }) => request<Operation>('GET', `/api/v1/operations/${encodeURIComponent(id)}`, undefined, signal) })
  const [stopping, setStopping] = useState(false)
  if (error) return <Trouble error={error as ApiError} />
  if (!data) return null
  return (
    <section className="card" aria-label={`Operation ${id}`}>
      <header><h2>{data.action}</h2><span className="id">{id}</span><span className="grow" />{data.startedAt && <small><Time at={data.startedAt} /></small>}</header>
      <div className="pad form">
        <Bar operation={data} />
        <p role="status"><b>{count(data.done)} done</b>, {count(data.failed)} refused, of {count(data.matched)} that matched. {data.by && <>Asked by <b>{data.by}</b>: </>}“{data.reason}”</p>
        <p className="soft">Filter: <code>{filterText(data)}</code></p>
        {data.cancelledBy && <p>Stopped by <b>{data.cancelledBy}</b>: “{data.cancelReason}”. What was done stays done.</p>}
        {data.errors.length > 0 && <details open><summary><Icon name="error" tone="fault" /> What was refused</summary><ul className="faults">{data.errors.map(each => <li key={each.id}><a className="id" href={to(['sagas', each.id])}>{each.id}</a> <span className="soft">{each.message}</span></li>)}</ul></details>}
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
    try { await request('POST', `/api/v1/operations/${encodeURIComponent(id)}/cancel`, { reason }); close() } catch (fault) { setError(asError(fault)); setBusy(false) }
  }
  return <Dialog open close={close} title="Stop the operation"><ReasonForm word="Stop it" icon="terminated" danger busy={busy} error={error} onDo={reason => void run(reason)}><p className="soft">Sagas that were not asked yet are left as they are. <b>What it did stays done.</b></p></ReasonForm></Dialog>
}
