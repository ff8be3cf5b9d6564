// An action on everything that a filter matches: the server does it, however many there are.
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { acts, asError, ReasonForm, type Act } from './actions'
import { toApi, toQuery, type Filters } from './filters'
import { Dialog, Trouble } from './parts'
import { request } from './rest'
import { to } from './route'
import { count, now } from './time'

export interface Operation { id: string; action: string; filter: Record<string, unknown>; reason: string; by?: string; startedAt?: string; finishedAt?: string | null; status: 'running' | 'done' | 'cancelled'; matched: number; done: number; failed: number; errors: { id: string; message: string }[]; cancelledBy?: string | null; cancelReason?: string | null }

export function BulkDialog({ act, filters, close }: { act: Act; filters: Filters; close: () => void }) {
  const { word, icon, danger = false } = acts[act]
  const filter = toApi(filters, now())
  const [operation, setOperation] = useState<Operation | null>(null)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<Error | null>(null)
  const trial = useQuery({ queryKey: ['dry-run', act, toQuery(filters).toString()], retry: false, gcTime: 0, queryFn: () => request<{ matched: number }>('POST', '/api/v1/operations', { action: act, filter, reason: 'dry run', dryRun: true }) })
  const run = async (reason: string) => {
    setBusy(true)
    setError(null)
    try {
      setOperation(await request<Operation>('POST', '/api/v1/operations', { action: act, filter, reason }))
    } catch (fault) {
      setError(asError(fault))
    }
    setBusy(false)
  }
  return (
    <Dialog open close={close} title={`${word}: all that match`}>
      {trial.error ? <div className="pad"><Trouble error={trial.error} /><p className="soft">Select rows instead: those are asked one by one.</p></div>
        : operation ? <div className="effect"><div className="pad"><p role="status"><b>Begun.</b> {count(operation.matched)} sagas are asked, one after another, by the server.</p></div><div className="pad row"><span className="grow" /><a className="btn primary" href={to(['operations', operation.id])}>Watch it</a></div></div>
        : <ReasonForm word={trial.data ? `${word} ${count(trial.data.matched)}` : word} icon={icon} danger={danger} busy={busy || trial.isPending} error={error} onDo={reason => void run(reason)}>
            <p className="soft">{trial.data ? <><b>{count(trial.data.matched)} sagas match now.</b> Those whose state does not allow it are left as they are and listed.</> : 'Counting what matches…'}</p>
            <p className="soft">Filter: <code>{toQuery(filters).toString() || 'none: every saga'}</code></p>
          </ReasonForm>}
    </Dialog>
  )
}
