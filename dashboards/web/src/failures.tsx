// What fails, grouped: the same step, phase and error is one line, however many sagas it hit. A business refusal is grey: nothing is wrong.
import { useQuery } from '@tanstack/react-query'
import { useMemo, useState } from 'react'
import { ActionDialog, asError, type Act, type Doing } from './actions'
import { api, ask, type ApiError } from './api'
import { BulkDialog } from './bulk'
import { Spark } from './chart'
import { useCounts, useShapes } from './data'
import { none, statuses, toApi, toQuery, type Filters } from './filters'
import { Icon } from './icons'
import { useInterval } from './live'
import { Due, Empty, Live, PauseButton, Segments, signOf, Strip, Time, Took, Trouble } from './parts'
import { amend, to, useRoute } from './route'
import { request } from './rest'
import { Head } from './shell'
import { count, now } from './time'

interface Failure { definition: string; step: string | null; phase: string | null; code: string; message: string; count: number; open?: number; outcome?: string; firstAt: string; lastAt: string; series: number[] }
type Order = 'stuck' | 'seen' | 'last'

const keyOf = (failure: Failure) => [failure.definition, failure.step, failure.phase, failure.code].join(' ')
const filtersOf = (failure: Failure): Filters => ({ ...none, definition: failure.definition, step: failure.step, error: failure.code })

export function Failures() {
  const { query } = useRoute()
  const [order, setOrder] = useState<Order>('stuck')
  const { data, error, refetch, isPending } = useQuery({ queryKey: ['failures'], refetchInterval: useInterval(3000, 3000), retry: false, queryFn: ({ signal }) => request<{ items: Failure[] }>('GET', '/api/v1/failures', undefined, signal) })
  const [doing, setDoing] = useState<Doing | null>(null)
  const [bulk, setBulk] = useState<{ act: Act; filters: Filters } | null>(null)
  const [trouble, setTrouble] = useState<Error | null>(null)
  const open = query.get('group')
  const items = useMemo(() => (data?.items ?? []).toSorted((a, b) =>
    order === 'seen' ? b.count - a.count : order === 'last' ? b.lastAt.localeCompare(a.lastAt) : (b.open ?? 0) - (a.open ?? 0) || Number(a.outcome === 'refused') - Number(b.outcome === 'refused') || b.count - a.count), [data, order])
  // A group that fits on a page is asked one by one, so that each outcome is seen; a larger one is the server's work.
  const act = async (which: Act, failure: Failure) => {
    setTrouble(null)
    try {
      const page = await ask(api.GET('/api/v1/sagas', { params: { query: { ...toApi(filtersOf(failure), now()), limit: 100 } } }))
      if (page.next === null) setDoing({ act: which, sagas: page.items })
      else setBulk({ act: which, filters: filtersOf(failure) })
    } catch (fault) {
      setTrouble(asError(fault))
    }
  }
  return (
    <>
      <Head title="Failures"><Live /><span className="grow" /><Segments label="Order" value={order} onChange={setOrder} options={[['stuck', 'Needs a person first'], ['seen', 'Most seen'], ['last', 'Last seen']]} /><PauseButton /></Head>
      {trouble && <Trouble error={trouble} />}
      {error && !data ? <Trouble error={error as ApiError} again={() => void refetch()} /> : (
        <section className="card" aria-label="Failures">
          {items.length === 0 ? (isPending ? <div className="loading">Loading…</div> : <Empty icon="check" title="Nothing has failed">Refusals and errors gather here as they come.</Empty>) : (
            <div className="scroll"><table className="cards groups two-line">
              <thead><tr><th><span className="sr">Open the group</span></th><th>Error</th><th>Step, phase</th><th className="num">Seen</th><th>When</th><th>Last seen</th><th>Open now</th></tr></thead>
              <tbody>{items.map(failure => <Group key={keyOf(failure)} failure={failure} open={open === keyOf(failure)} act={which => void act(which, failure)} />)}</tbody>
            </table></div>
          )}
        </section>
      )}
      <p className="under"><small>A refusal is a business no: the saga turns back and nothing is wrong. An error or a lost answer is retried. Stuck is what neither settles.</small></p>
      <ActionDialog doing={doing} close={() => setDoing(null)} />
      {bulk && <BulkDialog act={bulk.act} filters={bulk.filters} close={() => setBulk(null)} />}
    </>
  )
}

function Group({ failure, open, act }: { failure: Failure; open: boolean; act: (which: Act) => void }) {
  const refused = failure.outcome === 'refused'
  const openNow = failure.open ?? 0
  const stuck = openNow > 0 && !refused
  const key = keyOf(failure)
  const toggle = () => amend({ group: open ? null : key })
  return (
    <>
      <tr className={open ? 'on' : ''}>
        <td><button type="button" className="btn bare icon" aria-expanded={open} aria-label={`${open ? 'Close' : 'Open'} ${failure.code} of ${failure.step}`} onClick={toggle}><Icon name={open ? 'down' : 'right'} /></button></td>
        <td className="full fill"><span className="err" data-p={refused ? 'none' : 'fault'}><Icon name={refused ? 'refused' : failure.code === 'timeout' ? 'unknown' : 'error'} tone={refused ? 'none' : 'fault'} /><span><code>{failure.code}</code><small className="cut" title={failure.message}>{failure.message}</small></span></span></td>
        <td>{failure.step ?? 'saga'}{failure.phase && `, ${failure.phase}`}<small>{failure.definition}</small></td>
        <td className="num"><b>{count(failure.count)}</b></td>
        <td className="wide"><Spark values={failure.series} tone={refused ? 'none' : 'fault'} label={`Over time: ${failure.series.join(', ')}`} /></td>
        <td className="wide"><Time at={failure.lastAt} /><small>since <Time at={failure.firstAt} /></small></td>
        <td>{openNow === 0 ? <small>none</small> : <a href={to(['sagas'], toQuery(filtersOf(failure)))} className={stuck ? 'bad' : ''}>{count(openNow)} open</a>}</td>
      </tr>
      {open && <tr className="inside"><td colSpan={7}><Inside failure={failure} act={act} /></td></tr>}
    </>
  )
}

function Inside({ failure, act }: { failure: Failure; act: (which: Act) => void }) {
  const filters = useMemo(() => filtersOf(failure), [failure.definition, failure.step, failure.code])
  const shapesOf = useShapes()
  const { data: counts } = useCounts(filters)
  const { data } = useQuery({ queryKey: ['failures', keyOf(failure)], refetchInterval: useInterval(3000, 3000), queryFn: ({ signal }) => ask(api.GET('/api/v1/sagas', { params: { query: { ...toApi(filters, now()), limit: 20 } }, signal })) })
  const total = counts ? statuses.reduce((sum, status) => sum + counts.byStatus[status], 0) : 0
  const refused = failure.outcome === 'refused'
  return (
    <>
      <div className="alert" data-p={refused ? 'none' : 'fault'}><Icon name={refused ? 'refused' : 'stuck'} />
        <div><h2>{refused ? <>A business no of {failure.step}: {failure.message}</> : <><em>{failure.step}</em> answers {failure.phase} with: {failure.message}</>}</h2>
          <p>{total === 0 ? 'No saga is open because of it now: nobody is needed.' : <>{total} saga{total === 1 ? ' is' : 's are'} open with it now: {counts && statuses.filter(status => counts.byStatus[status] > 0).map(status => <span key={status} className="st" data-p={signOf(status).tone}><Icon name={signOf(status).icon} />{counts.byStatus[status]} {status} </span>)}</>}</p></div>
        <div className="row wrap"><button type="button" className="btn primary" disabled={total === 0} onClick={() => act('retry')}><Icon name="retry" />Retry {total || ''}…</button><button type="button" className="btn" disabled={total === 0} onClick={() => act('cancel')}><Icon name="back" />Cancel…</button><a className="btn" href={to(['sagas'], toQuery(total === 0 ? { ...none, definition: failure.definition, status: ['Compensated'] } : filters))}>Open in Sagas</a></div></div>
      {data && data.items.length > 0 && <table aria-label="Sagas of this group"><thead><tr><th>Saga</th><th>Steps</th><th className="num">Attempts</th><th>Last error</th><th className="num">Next</th><th className="num">For</th></tr></thead>
        <tbody>{data.items.map(saga => <tr key={saga.id}><td><a className="id" href={to(['sagas', saga.id], saga.step ? { step: saga.step } : {})}>{saga.id}</a></td><td><Strip shapes={shapesOf(saga.definition, saga.version)} saga={saga} short /></td><td className="num"><b>{saga.attempts}</b></td><td className="fill">{saga.stepError?.message}</td><td className="num"><Due at={saga.nextAttemptAt} /></td><td className="num"><Took from={saga.startedAt} to={saga.finishedAt} /></td></tr>)}</tbody></table>}
    </>
  )
}
