// What waits: for an answer, for a callback, for the next attempt, for somebody. The longest first.
import { useQuery } from '@tanstack/react-query'
import { useMemo, useState } from 'react'
import { ActionDialog, unfit, type Doing } from './actions'
import { api, ask, type ApiError, type Summary } from './api'
import { Icon, type IconName } from './icons'
import { useInterval } from './live'
import { Due, Empty, Live, PauseButton, Segments, Time, Trouble, useNow, waits } from './parts'
import { to } from './route'
import type { Tone } from './run'
import { Head } from './shell'
import { age } from './time'

type Kind = 'retry' | 'answer' | 'timer' | 'operator'

/** What a saga waits for, of what it says. */
function kindOf(saga: Summary): Kind {
  if (saga.paused) return 'operator'
  if (saga.nextAttemptAt !== null) return 'retry'
  return saga.phase === null ? 'timer' : 'answer'
}

const kinds: Record<Kind, { word: string; icon: IconName; tone: Tone }> = {
  retry: { word: 'next attempt', icon: 'retry', tone: 'wait' }, answer: { word: 'an answer', icon: 'waiting', tone: 'wait' }, timer: { word: 'a timer or signal', icon: 'waiting', tone: 'wait' }, operator: { word: 'somebody to resume it', icon: 'paused', tone: 'none' },
}

export function Waiting() {
  const [kind, setKind] = useState<Kind | 'all'>('all')
  const [doing, setDoing] = useState<Doing | null>(null)
  const now = useNow()
  const { data, error, refetch, isPending } = useQuery({
    queryKey: ['waiting'], refetchInterval: useInterval(2000, 2000), queryFn: ({ signal }) => ask(api.GET('/api/v1/sagas', { params: { query: { status: ['Running', 'Confirming', 'Compensating', 'Stuck'], limit: 500 } }, signal })),
  })
  const all = useMemo(() => (data?.items ?? []).toSorted((a, b) => a.updatedAt.localeCompare(b.updatedAt)), [data])
  const by = Map.groupBy(all, kindOf)
  const shown = kind === 'all' ? all : by.get(kind) ?? []
  return (
    <>
      <Head title="Waiting"><Live /><span className="grow" />
        <Segments label="Waiting for" value={kind} onChange={setKind} options={[['all', `All ${all.length}`], ...(['retry', 'answer', 'timer', 'operator'] as const).map(each => [each, `${{ retry: 'Retry', answer: 'Answer', timer: 'Timer', operator: 'Operator' }[each]} ${by.get(each)?.length ?? 0}`] as const)]} /><PauseButton /></Head>
      {error && !data ? <Trouble error={error as ApiError} again={() => void refetch()} /> : (
        <section className="card" aria-label="Waiting">
          {shown.length === 0 ? (isPending ? <div className="loading">Loading…</div> : <Empty icon="check" title="Nothing waits">Every saga that was started has ended.</Empty>) : (
            <div className="scroll"><table className="cards waits">
              <thead><tr><th>For</th><th>Saga</th><th>Step</th><th>Waits for</th><th className="num">Attempts</th><th className="num">Next</th><th>Since</th><th><span className="sr">Action</span></th></tr></thead>
              <tbody>{shown.slice(0, 300).map(saga => {
                const each = kinds[kindOf(saga)]
                return (
                  <tr key={saga.id}>
                    <td className="num"><b>{age(now - Date.parse(saga.updatedAt))}</b></td>
                    <td><a className="id" href={to(['sagas', saga.id], saga.step ? { step: saga.step } : {})}>{saga.id}</a> <small>{saga.definition}</small></td>
                    <td>{saga.step} <span className="soft">{saga.phase}</span></td>
                    <td className="fill"><span className="st" data-p={saga.status === 'Stuck' ? 'fault' : each.tone} title={saga.stepError?.message ?? ''}><Icon name={saga.status === 'Stuck' ? 'stuck' : each.icon} />{waits(saga.waitingFor) ?? each.word}</span> {saga.stepError && <code className="soft">{saga.stepError.code}</code>}</td>
                    <td className="num wide">{saga.attempts}</td>
                    <td className="num"><Due at={saga.nextAttemptAt} /></td>
                    <td className="wide"><Time at={saga.updatedAt} /></td>
                    <td className="num">{unfit('retry', saga) === null ? <button type="button" className="btn" onClick={() => setDoing({ act: 'retry', sagas: [saga] })}><Icon name="retry" />Retry now…</button> : saga.paused && <button type="button" className="btn" onClick={() => setDoing({ act: 'resume', sagas: [saga] })}><Icon name="play" />Resume…</button>}</td>
                  </tr>
                )
              })}</tbody>
            </table></div>
          )}
        </section>
      )}
      {data?.next && <p className="under"><small>The newest 500 open sagas are looked at; there are more.</small></p>}
      <ActionDialog doing={doing} close={() => setDoing(null)} />
    </>
  )
}
