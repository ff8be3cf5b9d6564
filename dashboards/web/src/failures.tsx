// What fails, grouped: the same step, phase and error is one line, however many sagas it hit. A business refusal is grey: nothing is wrong.
import { useQuery } from '@tanstack/react-query'
import { useMemo, useState } from 'react'
import { ActionDialog, asError, type Act, type Doing } from './actions'
import { api, ask, type ApiError, type FailureGroup } from './api'
import { BulkDialog } from './bulk'
import { Spark } from './chart'
import { useShapes } from './data'
import { isEnded, none, statuses, toApi, toQuery, type Filters } from './filters'
import { Icon } from './icons'
import { useInterval } from './live'
import { Due, Empty, Live, PauseButton, Segments, signOf, Strip, Time, Took, Trouble } from './parts'
import { amend, to, useRoute } from './route'
import { Head } from './shell'
import { count, exact, isoDuration, now } from './time'

type Order = 'stuck' | 'seen' | 'last'

const keyOf = (group: FailureGroup) => [group.definition, group.version, group.step, group.phase, group.code].join(' ')
const filtersOf = (group: FailureGroup): Filters => ({ ...none, definition: group.definition, step: group.step, error: group.code })
const open = statuses.filter(status => !isEnded(status))
const openOf = (group: FailureGroup) => open.reduce((sum, status) => sum + group.byStatus[status], 0)

export function Failures() {
  const { query } = useRoute()
  const [order, setOrder] = useState<Order>('stuck')
  const { data, error, refetch, isPending } = useQuery({ queryKey: ['failures'], retry: false, refetchInterval: useInterval(3000, 3000), queryFn: ({ signal }) => ask(api.GET('/api/v1/failures', { signal })) })
  const [doing, setDoing] = useState<Doing | null>(null)
  const [bulk, setBulk] = useState<{ act: Act; filters: Filters } | null>(null)
  const [trouble, setTrouble] = useState<Error | null>(null)
  const shown = query.get('group')
  const items = useMemo(() => (data?.items ?? []).toSorted((a, b) =>
    order === 'seen' ? b.count - a.count : order === 'last' ? b.lastAt.localeCompare(a.lastAt)
      : b.byStatus.Stuck - a.byStatus.Stuck || Number(a.refused) - Number(b.refused) || openOf(b) - openOf(a) || b.count - a.count), [data, order])
  // A group that fits on a page is asked one by one, so that each outcome is seen; a larger one is the server's work.
  const act = async (which: Act, group: FailureGroup) => {
    setTrouble(null)
    try {
      const page = await ask(api.GET('/api/v1/sagas', { params: { query: { ...toApi(filtersOf(group), now()), limit: 100 } } }))
      const mine = page.items.filter(saga => group.phase === null || saga.phase === group.phase)
      if (mine.length === 0) setTrouble(new Error('None of its sagas is open any more.'))
      else if (page.next === null) setDoing({ act: which, sagas: mine })
      else setBulk({ act: which, filters: filtersOf(group) })
    } catch (fault) {
      setTrouble(asError(fault))
    }
  }
  const window = isoDuration(data?.window)
  return (
    <>
      <Head title="Failures"><Live /><span className="grow" /><Segments label="Order" value={order} onChange={setOrder} options={[['stuck', <><Icon name="stuck" />Needs a person first</>], ['seen', 'Most seen'], ['last', 'Last seen']]} /><PauseButton /></Head>
      {trouble && <Trouble error={trouble} />}
      {error && !data ? <Trouble error={error as ApiError} again={() => void refetch()} /> : (
        <section className="card" aria-label="Failures">
          {items.length === 0 ? (isPending ? <div className="loading">Loading…</div> : <Empty icon="check" title="Nothing has failed">Refusals and errors gather here as they come.</Empty>) : (
            <div className="scroll"><table className="cards groups two-line">
              <thead><tr><th><span className="sr">Open the group</span></th><th>Error</th><th>Step, phase</th><th className="num">Sagas</th><th>{window === null ? 'When' : window === 86_400_000 ? '24 h' : exact(window)}</th><th>Last seen</th><th>Where they are now</th></tr></thead>
              <tbody>{items.map(group => <Group key={keyOf(group)} group={group} open={shown === keyOf(group)} act={which => void act(which, group)} />)}</tbody>
            </table></div>
          )}
        </section>
      )}
      <p className="under"><small>A refusal is a business no: the saga turns back and nothing is wrong. An error or a lost answer is retried. Stuck is what neither settles.{data && data.omitted > 0 && ` ${data.omitted} rarer groups are not shown.`}</small></p>
      <ActionDialog doing={doing} close={() => setDoing(null)} />
      {bulk && <BulkDialog act={bulk.act} filters={bulk.filters} close={() => setBulk(null)} />}
    </>
  )
}

function Group({ group, open: shown, act }: { group: FailureGroup; open: boolean; act: (which: Act) => void }) {
  const key = keyOf(group)
  const tone = group.refused ? 'none' : 'fault'
  return (
    <>
      <tr className={shown ? 'on' : ''}>
        <td><button type="button" className="btn bare icon" aria-expanded={shown} aria-label={`${shown ? 'Close' : 'Open'} ${group.code} of ${group.step ?? 'the saga'}, ${group.phase ?? ''}`} onClick={() => amend({ group: shown ? null : key })}><Icon name={shown ? 'down' : 'right'} /></button></td>
        <td className="full fill"><span className="err" data-p={tone}><Icon name={group.byStatus.Stuck > 0 ? 'stuck' : group.refused ? 'refused' : group.code === 'timeout' ? 'unknown' : 'error'} tone={tone} /><span className="cut"><code>{group.code}</code><small className="cut" title={group.message}>{group.message}</small></span></span></td>
        <td>{group.step ?? 'saga'}{group.phase && `, ${group.phase}`}<small>{group.definition} v{group.version}</small></td>
        <td className="num"><b>{count(group.count)}</b></td>
        <td className="wide"><Spark values={group.series} tone={tone} label={`Over time: ${group.series.join(', ')}`} /></td>
        <td className="wide"><Time at={group.lastAt} /><small>since <Time at={group.firstAt} /></small></td>
        <td><Now group={group} /></td>
      </tr>
      {shown && <tr className="inside"><td colSpan={7}><Inside group={group} act={act} /></td></tr>}
    </>
  )
}

const Now = ({ group }: { group: FailureGroup }) => <>{(['Stuck', ...statuses.filter(status => status !== 'Stuck')] as const).filter(status => group.byStatus[status] > 0).slice(0, 3).map(status => <span key={status} className="st" data-p={signOf(status).tone}><Icon name={signOf(status).icon} /><span className="ink"><b>{count(group.byStatus[status])}</b> {status.toLowerCase()}</span></span>)}</>

function Inside({ group, act }: { group: FailureGroup; act: (which: Act) => void }) {
  const filters = useMemo(() => filtersOf(group), [group.definition, group.step, group.code])
  const shapesOf = useShapes()
  const { data } = useQuery({ queryKey: ['failures', keyOf(group)], refetchInterval: useInterval(3000, 3000), queryFn: ({ signal }) => ask(api.GET('/api/v1/sagas', { params: { query: { ...toApi(filters, now()), limit: 20 } }, signal })) })
  const total = openOf(group)
  // The API filters by step and code; the phase is told apart here.
  const mine = data?.items.filter(saga => group.phase === null || saga.phase === group.phase) ?? []
  return (
    <>
      <div className="alert" data-p={group.refused ? 'none' : 'fault'}><Icon name={group.refused ? 'refused' : group.byStatus.Stuck > 0 ? 'stuck' : 'error'} />
        <div><h2><em>{group.step ?? 'The saga'} {group.refused ? 'says no' : `fails in ${group.phase ?? 'its turn'}`}:</em> {group.message}</h2>
          <p>{total === 0 ? `All ${count(group.count)} have ended: nobody is needed.` : group.byStatus.Stuck > 0 ? `${group.byStatus.Stuck} of ${count(group.count)} are stuck and need a person. Mend what ${group.step ?? 'it'} calls, then retry.` : `${total} of ${count(group.count)} are still open; they are asked again by themselves.`}</p></div>
        <div className="row wrap"><button type="button" className="btn primary" disabled={total === 0} onClick={() => act('retry')}><Icon name="retry" />Retry{total === 0 ? '' : ` ${total}`}…</button><button type="button" className="btn" disabled={total === 0} onClick={() => act('cancel')}><Icon name="back" />Cancel…</button><a className="btn" href={to(['sagas'], toQuery(total === 0 ? { ...none, definition: group.definition, status: ['Compensated'] } : filters))}>Open in Sagas</a></div></div>
      {mine.length > 0 && <table aria-label="Sagas of this group"><thead><tr><th>Saga</th><th>Steps</th><th className="num">Attempts</th><th>Last error</th><th className="num">Next</th><th className="num">For</th></tr></thead>
        <tbody>{mine.map(saga => <tr key={saga.id}><td><a className="id" href={to(['sagas', saga.id], saga.step ? { step: saga.step } : {})}>{saga.id}</a></td><td><Strip shapes={shapesOf(saga.definition, saga.version)} saga={saga} short /></td><td className="num"><b>{saga.attempts}</b></td><td className="fill">{saga.stepError?.message}</td><td className="num"><Due at={saga.nextAttemptAt} /></td><td className="num"><Took from={saga.startedAt} to={saga.finishedAt} /></td></tr>)}</tbody></table>}
    </>
  )
}
