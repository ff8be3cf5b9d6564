// What waits: for an answer, for the next attempt, for a timer, a signal or somebody. The longest first.
import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { ActionDialog, type Doing } from './actions'
import { api, ask, type ApiError, type WaitingStep } from './api'
import { Icon, type IconName } from './icons'
import { useInterval } from './live'
import { Due, Empty, Live, PauseButton, Segments, Time, Trouble, useNow, waits } from './parts'
import { amend, to, useRoute } from './route'
import { Head } from './shell'
import { age, count } from './time'

type Kind = WaitingStep['kind']
const kinds: [Kind, string, IconName][] = [['retry', 'Next attempt', 'retry'], ['reply', 'Answer', 'waiting'], ['timer', 'Timer', 'waiting'], ['signal', 'Signal', 'waiting'], ['operator', 'Operator', 'paused']]

export function Waiting() {
  const { query } = useRoute()
  const kind = kinds.find(([each]) => each === query.get('kind'))?.[0] ?? null
  const [doing, setDoing] = useState<Doing | null>(null)
  const now = useNow()
  const { data, error, refetch, isPending } = useQuery({
    queryKey: ['waiting', kind], retry: false, placeholderData: keepPreviousData, refetchInterval: useInterval(2000, 2000),
    queryFn: ({ signal }) => ask(api.GET('/api/v1/waiting', { params: { query: { limit: 200, ...(kind === null ? {} : { kind }) } }, signal })),
  })
  const total = data && kinds.reduce((sum, [each]) => sum + data.byKind[each], 0)
  const act = (which: 'retry' | 'resume', step: WaitingStep) => setDoing({ act: which, sagas: [{ id: step.saga, status: step.status, paused: step.paused, committed: false, nextAttemptAt: step.dueAt, step: step.step, waitingFor: step.waitingFor }] })
  // Named in the column before; what is left says what for.
  const reason = (step: WaitingStep) => waits(step.waitingFor)?.replace(` of '${step.step}'`, '') ?? ''
  const icon = (step: WaitingStep): IconName => (step.stuck ? 'stuck' : kinds.find(([each]) => each === step.kind)?.[2] ?? 'waiting')
  return (
    <>
      <Head title="Waiting"><Live /><span className="grow" /><PauseButton /></Head>
      <div className="pad0 slide"><Segments label="Waiting for" value={kind ?? 'all'} onChange={next => amend({ kind: next === 'all' ? null : next })} options={[['all', `All ${total === undefined ? '' : count(total)}`], ...kinds.map(([each, word]) => [each, `${word} ${data ? count(data.byKind[each]) : ''}`] as const)]} /></div>
      {error && !data ? <Trouble error={error as ApiError} again={() => void refetch()} /> : (
        <section className="card" aria-label="Waiting">
          {!data || data.items.length === 0 ? (isPending ? <div className="loading">Loading…</div> : <Empty icon="check" title="Nothing waits">{kind === null ? 'Every saga that was started has ended.' : 'Nothing waits for that now.'}</Empty>) : (
            <div className="scroll"><table className="cards waits">
              <thead><tr><th className="num">For</th><th>Saga</th><th>Step</th><th>Waits for</th><th className="num">Attempts</th><th className="num">Due</th><th>Since</th><th><span className="sr">Action</span></th></tr></thead>
              <tbody>{data.items.map(step => (
                <tr key={`${step.saga} ${step.step}`}>
                  <td className="num"><b>{age(now - Date.parse(step.since))}</b></td>
                  <td><a className="id" href={to(['sagas', step.saga], { step: step.step })}>{step.saga}</a> <small>{step.definition} v{step.version}</small></td>
                  <td>{step.step} <span className="soft">{step.phase}</span></td>
                  <td className="fill"><span className="st" data-p={step.stuck ? 'fault' : step.kind === 'operator' ? 'none' : 'wait'} title={step.error?.message ?? ''}><Icon name={icon(step)} />{reason(step)}{step.stuck && ', stuck'}</span> {step.error && <code className="soft">{step.error.code}</code>}</td>
                  <td className="num wide">{step.attempts}</td>
                  <td className="num"><Due at={step.dueAt} /></td>
                  <td className="wide"><Time at={step.since} /></td>
                  <td className="num">{step.paused ? <button type="button" className="btn" onClick={() => act('resume', step)}><Icon name="play" />Resume…</button> : step.kind === 'retry' && <button type="button" className="btn" onClick={() => act('retry', step)}><Icon name="retry" />Retry now…</button>}</td>
                </tr>
              ))}</tbody>
            </table></div>
          )}
        </section>
      )}
      <p className="under"><small>{data && data.items.length >= 200 ? 'The 200 that wait longest.' : ''}</small></p>
      <ActionDialog doing={doing} close={() => setDoing(null)} />
    </>
  )
}
