// How it goes: numbers now, what needs a person, what crossed the commit line and what turned back, and how long it takes.
import { useQuery } from '@tanstack/react-query'
import { useMemo, useState, type ReactNode } from 'react'
import uPlot from 'uplot'
import { api, ask, type ApiError, type Stats, type Summary } from './api'
import { axes, Chart, colour } from './chart'
import { useStats } from './data'
import { isEnded, statuses } from './filters'
import { Icon } from './icons'
import { useFeed, useInterval } from './live'
import { Empty, Live, PauseButton, Segments, signOf, Trouble, useNow } from './parts'
import { to } from './route'
import { useSeries, type Point } from './series'
import { Head } from './shell'
import { age, count, duration, exact } from './time'

type Span = '5' | '15' | '60' | '1440'
const spans: readonly (readonly [Span, string])[] = [['5', '5 m'], ['15', '15 m'], ['60', '1 h'], ['1440', '24 h']]

export function Overview() {
  const [span, setSpan] = useState<Span>('5')
  const asked = useStats()
  const [fed, setFed] = useState<Stats | null>(null)
  useFeed({ stats: setFed })
  const stats = fed ?? asked.data
  const points = useSeries(Number(span))
  return (
    <>
      <Head title="Overview"><Live /><span className="grow" /><Segments label="Span of the charts" value={span} onChange={setSpan} options={spans} /><PauseButton /></Head>
      {asked.error && !stats ? <Trouble error={asked.error as ApiError} again={() => void asked.refetch()} /> : stats && <Tiles stats={stats} />}
      <NeedsAPerson />
      <div className="grid2">
        <section className="card" aria-label="Crossing the commit line"><header><h2>Crossing the commit line</h2><small>completed per second; below the line, turned back</small></header><div className="pad"><Crossing points={points} span={Number(span) * 60} /></div></section>
        <section className="card" aria-label="Latency"><header><h2>Latency</h2><small>started to ended</small></header><div className="pad"><Latency points={points} span={Number(span) * 60} /></div></section>
      </div>
      {stats && <InFlight stats={stats} />}
      <ByDefinition />
    </>
  )
}

function Tiles({ stats }: { stats: Stats }) {
  const by = stats.byStatus
  const open = statuses.filter(status => !isEnded(status)).reduce((sum, status) => sum + by[status], 0)
  const ended = by.Completed + by.Compensated + by.Terminated
  const percent = (n: number) => (ended === 0 ? '' : `${((100 * n) / ended).toFixed(1)} % of ended`)
  return (
    <section className="card" aria-label="Now"><dl className="tiles">
      <div><dt>Started</dt><dd>{rate(stats.startedPerSecond)}<small>/s</small></dd><dd className="d">in the last minute</dd></div>
      <div data-p="keep"><dt><Icon name="completed" />Completed</dt><dd>{rate(stats.completedPerSecond)}<small>/s</small></dd><dd className="d">{percent(by.Completed)}</dd></div>
      <div data-p="undo"><dt><Icon name="compensated" />Compensated</dt><dd>{rate(stats.compensatedPerSecond)}<small>/s</small></dd><dd className="d">{percent(by.Compensated)}</dd></div>
      <div><dt>In flight</dt><dd>{count(open)}</dd><dd className="d">{by.Stuck === 0 ? 'none stuck' : <a href={to(['sagas'], { status: 'Stuck' })}>{by.Stuck} stuck</a>}</dd></div>
      <div><dt>p95, started to ended</dt><dd><Big ms={stats.latencyMs.p95} /></dd><dd className="d">p50 {duration(stats.latencyMs.p50)}, p99 {duration(stats.latencyMs.p99)}</dd></div>
      <div><dt>Oldest unfinished</dt><dd>{stats.oldestUnfinishedAt === null ? '–' : <Oldest at={Date.parse(stats.oldestUnfinishedAt)} />}</dd><dd className="d"><a href={to(['sagas'], { status: 'Running,Confirming,Compensating,Stuck' })}>{stats.oldestUnfinishedAt === null ? 'nothing is open' : 'all that are open'}</a></dd></div>
    </dl></section>
  )
}

const rate = (n: number) => (n < 10 ? n.toFixed(1) : count(Math.round(n)))
const split = (text: string): ReactNode => text.split(' ').map((part, i) => (i % 2 === 0 ? part : <small key={i}>{part} </small>))
const Big = ({ ms }: { ms: number }) => <>{split(duration(ms))}</>
const Oldest = ({ at }: { at: number }) => <>{split(age(useNow() - at))}</>

// ---------- what needs a person

function NeedsAPerson() {
  const { data } = useQuery({
    queryKey: ['stuck'], refetchInterval: useInterval(3000, 3000), queryFn: ({ signal }) => ask(api.GET('/api/v1/sagas', { params: { query: { status: ['Stuck'], limit: 500 } }, signal })),
  })
  const groups = useMemo(() => [...Map.groupBy(data?.items ?? [], saga => [saga.definition, saga.step, saga.phase, saga.stepError?.code].join('\u0000')).values()].sort((a, b) => b.length - a.length), [data])
  const total = data?.items.length ?? 0
  return (
    <section className="card" aria-label="What needs a person"><header><h2>Needs a person</h2><small>{total === 0 ? '' : `${total}${data?.next ? '+' : ''} stuck`}</small><span className="grow" /><a className="soft" href="#/failures">All failures</a></header>
      {data && groups.length === 0 ? <div className="calm" data-p="keep"><Icon name="check" tone="keep" />Nothing is stuck. What fails is asked again by itself.</div> : (
        <ul className="todo">{groups.slice(0, 8).map(sagas => <Group key={sagas[0]!.id} sagas={sagas} />)}</ul>
      )}
    </section>
  )
}

function Group({ sagas }: { sagas: Summary[] }) {
  const now = useNow()
  const first = sagas[0]!
  const oldest = Math.min(...sagas.map(saga => Date.parse(saga.startedAt)))
  const what = first.phase === 'cancel' ? 'cannot be cancelled' : first.phase === 'compensate' ? 'cannot be compensated' : first.phase === 'confirm' ? 'cannot be confirmed' : 'does not get done'
  return (
    <li data-p="fault"><Icon name="stuck" />
      <div><b>{first.step} {what} in {sagas.length} saga{sagas.length === 1 ? '' : 's'}</b><p>{first.stepError && <><code>{first.stepError.code}</code> {first.stepError.message} </>}{first.definition} v{first.version}. {first.committed ? 'Past the commit point, only forward' : 'Turned back'}. Oldest {age(now - oldest)}</p></div>
      <b className="num">{sagas.length}</b><a className="btn" href={sagas.length === 1 ? to(['sagas', first.id]) : to(['sagas'], { status: 'Stuck', definition: first.definition, ...(first.step === null ? {} : { step: first.step }) })}>Open</a></li>
  )
}

// ---------- charts

const nothing = <Empty icon="overview" title="Collecting numbers">The charts begin with the next ones.</Empty>

function Crossing({ points, span }: { points: readonly Point[]; span: number }) {
  const data = useMemo((): uPlot.AlignedData => [points.map(p => p.at), points.map(p => p.completed), points.map(p => -p.compensated)], [points])
  if (points.length < 2) return nothing
  const last = points.at(-1)!
  const options = (): Omit<uPlot.Options, 'width' | 'height'> => {
    const bars = uPlot.paths.bars!({ size: [0.8, 12], align: 1 })
    return {
      legend: { show: false }, cursor: { y: false, points: { show: false } }, padding: [8, 8, 0, 0],
      scales: { x: { time: true, range: (_, __, high) => [high - span, high] }, y: { range: (_, low, high) => [Math.min(low * 1.15, -high * 0.15, -0.5), Math.max(high * 1.1, 1)] } },
      axes: axes(value => String(Math.abs(Math.round(value * 10) / 10))),
      series: [{}, { fill: colour('keep'), stroke: colour('keep'), width: 0, paths: bars, points: { show: false } }, { fill: colour('undo'), stroke: colour('undo'), width: 0, paths: bars, points: { show: false } }],
      hooks: { draw: [plot => {
        const y = Math.round(plot.valToPos(0, 'y', true)) + 0.5
        plot.ctx.strokeStyle = colour('control')
        plot.ctx.lineWidth = 1.5 * devicePixelRatio
        plot.ctx.beginPath()
        plot.ctx.moveTo(plot.bbox.left, y)
        plot.ctx.lineTo(plot.bbox.left + plot.bbox.width, y)
        plot.ctx.stroke()
      }] },
    }
  }
  return <><Chart key={span} data={data} options={options} height={196} label={`Per second: ${rate(last.completed)} completed, ${rate(last.compensated)} turned back`} />
    <p className="row legendline"><span className="st" data-p="keep"><Icon name="completed" />{rate(last.completed)}/s crossed</span><span className="st" data-p="undo"><Icon name="compensated" />{rate(last.compensated)}/s back</span></p></>
}

function Latency({ points, span }: { points: readonly Point[]; span: number }) {
  const data = useMemo((): uPlot.AlignedData => [points.map(p => p.at), points.map(p => p.p50 && Math.max(1, p.p50)), points.map(p => p.p95 && Math.max(1, p.p95)), points.map(p => p.p99 && Math.max(1, p.p99))], [points])
  if (points.length < 2) return nothing
  const last = points.findLast(p => p.p50 !== null)
  const ms = (value: number | null | undefined) => (value === null || value === undefined ? '–' : duration(value))
  const options = (): Omit<uPlot.Options, 'width' | 'height'> => {
    const ink = colour('ink')
    const line = (dash: number[]): uPlot.Series => ({ stroke: ink, width: 1.75, dash, points: { show: false } })
    return { legend: { show: false }, cursor: { y: false, points: { show: false } }, padding: [8, 8, 0, 0], scales: { x: { time: true, range: (_, __, high) => [high - span, high] }, y: { distr: 3 } }, axes: axes(exact, value => [1, 10, 100, 1000, 10_000, 100_000].includes(value)), series: [{}, line([]), line([6, 3]), line([1.5, 3])] }
  }
  return <><Chart key={span} data={data} options={options} height={196} label={`p50 ${ms(last?.p50)}, p95 ${ms(last?.p95)}, p99 ${ms(last?.p99)}`} />
    <p className="row legendline"><span><i className="dash solid" />p50 {ms(last?.p50)}</span><span><i className="dash" />p95 {ms(last?.p95)}</span><span><i className="dash dots" />p99 {ms(last?.p99)}</span></p></>
}

function InFlight({ stats }: { stats: Stats }) {
  const open = statuses.filter(status => !isEnded(status))
  const total = open.reduce((sum, status) => sum + stats.byStatus[status], 0)
  return (
    <section className="card" aria-label="In flight by status"><header><h2>In flight by status</h2><small>{count(total)}</small></header><div className="pad">
      <div className="stack" aria-hidden="true">{total === 0 ? <i data-p="none" style={{ flexGrow: 1 }} className="hatch" /> : open.filter(status => stats.byStatus[status] > 0).map(status => <i key={status} data-p={signOf(status).tone} style={{ flexGrow: stats.byStatus[status] }} />)}</div>
      <div className="row wrap legendline">{open.map(status => <a key={status} className="st" data-p={signOf(status).tone} href={to(['sagas'], { status })}><Icon name={signOf(status).icon} />{status} <b className="ink">{count(stats.byStatus[status])}</b></a>)}</div>
    </div></section>
  )
}

function ByDefinition() {
  const { data, error } = useQuery({ queryKey: ['stats', 'definitions'], retry: false, refetchInterval: useInterval(3000, 3000), queryFn: ({ signal }) => ask(api.GET('/api/v1/stats/definitions', { signal })) })
  const now = useNow()
  return (
    <section className="card" aria-label="By definition"><header><h2>By definition</h2><small>rates and latency of the last minute</small></header>
      {error ? <Trouble error={error as ApiError} /> : <div className="scroll"><table className="even">
        <thead><tr><th>Definition</th><th className="num">In flight</th><th className="wide">Phases now</th><th className="num">Started/s</th><th className="num">Crossed</th><th className="num wide">p95</th><th className="num wide">Oldest</th></tr></thead>
        <tbody>{data?.items.map(({ definition, version, stats: { byStatus: by, ...stats } }) => {
          const open = statuses.filter(status => !isEnded(status) && by[status] > 0)
          const ended = by.Completed + by.Compensated + by.Terminated
          return (
            <tr key={`${definition} ${version}`}><td><a href={to(['definitions', definition], { version: String(version) })}>{definition} <small>v{version}</small></a></td>
              <td className="num"><a href={to(['sagas'], { definition, status: 'Running,Confirming,Compensating,Stuck' })}>{count(open.reduce((sum, status) => sum + by[status], 0))}</a></td>
              <td className="wide"><div className="stack thin" role="img" aria-label={open.map(status => `${by[status]} ${status}`).join(', ') || 'nothing in flight'}>{open.map(status => <i key={status} data-p={signOf(status).tone} style={{ flexGrow: by[status] }} />)}</div></td>
              <td className="num">{rate(stats.startedPerSecond)}</td><td className="num">{ended === 0 ? '' : `${((100 * by.Completed) / ended).toFixed(1)} %`}</td>
              <td className="num wide">{stats.latencyMs.p95 > 0 && duration(stats.latencyMs.p95)}</td><td className="num wide">{stats.oldestUnfinishedAt && age(now - Date.parse(stats.oldestUnfinishedAt))}</td></tr>
          )
        })}</tbody>
      </table></div>}
    </section>
  )
}
