// An action on everything that a filter matches: the server does it, however many there are.
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { acts, asError, ReasonForm, willDo, type Act } from './actions'
import { api, ask, type ApiError, type Operation } from './api'
import { toApi, toQuery, type Filters } from './filters'
import { Icon } from './icons'
import { useInterval } from './live'
import { Dialog, Trouble } from './parts'
import { to } from './route'
import { count, now } from './time'

export function BulkDialog({ act, filters, close }: { act: Act; filters: Filters; close: () => void }) {
  const { word, icon, danger = false } = acts[act]
  const filter = toApi(filters, now())
  const [operation, setOperation] = useState<Operation | null>(null)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<Error | null>(null)
  const trial = useQuery({ queryKey: ['dry-run', act, toQuery(filters).toString()], retry: false, gcTime: 0, queryFn: () => ask(api.POST('/api/v1/operations', { body: { action: act, filter, reason: 'dry run', dryRun: true } })) })
  const run = async (reason: string) => {
    setBusy(true)
    setError(null)
    try {
      setOperation(await ask(api.POST('/api/v1/operations', { body: { action: act, filter, reason } })) as Operation)
    } catch (fault) {
      setError(asError(fault))
    }
    setBusy(false)
  }
  return (
    <Dialog open close={close} title={`${word}: all that match`}>
      {trial.error ? <div className="pad"><Trouble error={trial.error} /><p className="soft">Select rows instead: those are asked one by one.</p></div>
        : operation ? <div className="pad form"><Progress id={operation.id} /><div className="row"><small>The server goes on with it if you close this.</small><span className="grow" /><a className="btn" href={to(['operations', operation.id])}>See it in Operations</a><button type="button" className="btn primary" onClick={close}>Close</button></div></div>
        : <ReasonForm word={trial.data ? `${word} ${count(trial.data.matched)}` : word} icon={icon} danger={danger} busy={busy || trial.isPending} error={error} onDo={reason => void run(reason)}>
            <p className="soft">{willDo[act](true)}</p>
            <p className="soft">{trial.data ? <><b>{count(trial.data.matched)} sagas match now.</b> Those whose state does not allow it are left as they are and listed.</> : 'Counting what matches…'}</p>
            <p className="soft">Filter: <code>{toQuery(filters).toString() || 'none: every saga'}</code></p>
          </ReasonForm>}
    </Dialog>
  )
}

export const Bar = ({ operation }: { operation: Operation }) => <span className="row"><progress max={Math.max(1, operation.matched)} value={operation.done + operation.failed} aria-label={`Progress of ${operation.id}`} /><small>{count(operation.done + operation.failed)} of {count(operation.matched)}, {operation.status}</small></span>

export const useOperation = (id: string) => {
  const interval = useInterval(1000, 1000)
  return useQuery<Operation>({ queryKey: ['operation', id], retry: false, refetchInterval: query => (query.state.data?.status === 'done' || query.state.data?.status === 'cancelled' ? false : interval), queryFn: ({ signal }) => ask(api.GET('/api/v1/operations/{id}', { params: { path: { id } }, signal })) })
}

/** How far it is and what it did: what was refused is listed with its reason. */
export function Progress({ id }: { id: string }) {
  const { data, error } = useOperation(id)
  if (error) return <Trouble error={error as ApiError} />
  if (!data) return null
  return (
    <>
      <Bar operation={data} />
      <p role="status"><b>{data.status === 'running' ? 'Under way.' : data.status === 'cancelled' ? 'Stopped.' : 'Done.'}</b> {count(data.done)} did it, {count(data.failed)} refused, of {count(data.matched)} that matched.</p>
      {data.errors.length > 0 && <details open={data.errors.length <= 10}><summary><Icon name="error" tone="fault" /> What was refused{data.failed > data.errors.length && `, the first ${data.errors.length}`}</summary><ul className="faults">{data.errors.map(each => <li key={each.id}><a className="id" href={to(['sagas', each.id])}>{each.id}</a> <span className="soft">{each.message}</span></li>)}</ul></details>}
    </>
  )
}
