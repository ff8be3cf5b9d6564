// An action on everything that a filter matches: the server does it, however many there are.
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { acts, asError, ReasonForm, willDo, type Act } from './actions'
import { api, ask, type Operation } from './api'
import { toApi, toQuery, type Filters } from './filters'
import { Progress } from './operations'
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
