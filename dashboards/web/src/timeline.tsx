// The run on an axis of time: a row a step, above its first phase, below its second; every attempt is a bar, idle time is folded.
import { useVirtualizer } from '@tanstack/react-virtual'
import { useMemo, useRef, useState } from 'react'
import type { Saga } from './api'
import { axis, type Axis } from './fold'
import { Icon } from './icons'
import { stepSignOf, useNow } from './parts'
import { usePrefs } from './prefs'
import { isSecond, type Attempt, type Run, type Shape, type StepRun } from './run'
import { duration, moment, now } from './time'

const rowHeight = 36

/** `run` is the whole of it; `then` is what a replay shows of it, and what comes after fades. */
interface Props { run: Run; then: Run | null; saga: Saga; shapes: readonly Shape[]; selected: string | null; onSelect: (name: string) => void }

export function Timeline(props: Props) {
  return props.saga.finishedAt === null ? <Moving {...props} /> : <Drawn {...props} to={props.run.endedAt ?? props.run.attempts.reduce((last, a) => Math.max(last, a.endAt ?? a.sentAt), 0)} />
}

const Moving = (props: Props) => <Drawn {...props} to={useNow()} />

function Drawn({ run, then, saga, shapes, selected, onSelect, to }: Props & { to: number }) {
  const [fold, setFold] = useState(true)
  const { times } = usePrefs()
  const box = useRef<HTMLDivElement>(null)
  const start = run.startedAt ?? Date.parse(saga.startedAt)
  const moving = saga.finishedAt === null
  const dues = useMemo(() => (moving ? new Map(saga.steps.filter(step => step.nextAttemptAt !== null).map(step => [step.name, Date.parse(step.nextAttemptAt!)])) : new Map<string, number>()), [saga, moving])
  const line = useMemo(() => {
    const end = Math.max(to, ...dues.values()) + (dues.size > 0 ? 1 : 0)
    const points = run.attempts.flatMap(attempt => [attempt.sentAt, attempt.endAt ?? attempt.sentAt])
    return axis([...run.attempts.map(attempt => ({ from: attempt.sentAt, to: attempt.endAt ?? to })), ...[...dues.values()].map(due => ({ from: due, to: due + 1 }))], start, end, [...points, ...(moving ? [to] : [])], fold)
  }, [run, start, to, dues, fold, moving])
  const steps = useMemo(() => rowsOf(shapes, run, saga), [shapes, run, saga])
  const many = steps.length > 80
  const rows = useVirtualizer({ count: steps.length, getScrollElement: () => box.current, estimateSize: () => rowHeight, overscan: 10, enabled: many })
  const items = many ? rows.getVirtualItems().map(item => ({ row: steps[item.index]!, top: item.start })) : steps.map((row, i) => ({ row, top: i * rowHeight }))
  const attempts = run.attempts.length
  // Words that would lie on each other are left out; the sign stays.
  const folds = apart(line.folds.map(each => ({ at: each.left + each.width / 2, each })), 5.5, 11, 91)
  const marks = apart([
    ...(run.committedAt === null ? [] : [{ at: line.x(run.committedAt), look: 'on', text: 'commit point' }]), ...(run.turnedBack ? [{ at: line.x(run.turnedBack.at), look: 'turn', text: 'turned back' }] : []),
    ...(then?.at ? [{ at: line.x(then.at), look: 'now', text: 'then' }] : moving ? [{ at: line.x(to), look: 'now', text: 'now' }] : []),
  ], 9)
  return (
    <>
      <header className="sub"><h2>Timeline</h2><small>{attempts} attempt{attempts === 1 ? '' : 's'}, {line.idleMs < 1 ? 'no idle time' : `${duration(line.idleMs)} of ${duration(line.totalMs)} idle`}</small><span className="grow" />
        {then && <small>faded: after the replay’s moment</small>}<label className="row check"><input type="checkbox" checked={fold} onChange={event => setFold(event.target.checked)} />Fold idle time</label></header>
      <div className={many ? 'tl tall' : 'tl'} ref={box} role={many ? 'group' : undefined} tabIndex={many ? 0 : undefined} aria-label={many ? 'Timeline rows' : undefined}>
        <div className="ax" aria-hidden="true"><span className="l" style={{ left: 0 }}>{moment(start, times === 'relative' ? 'local' : times, now(), true)}</span>
          {folds.filter(fold => fold.said && !marks.some(mark => mark.said && Math.abs(mark.at - fold.at) < 9)).map(({ each, at }) => <span key={each.from} className="f" style={{ left: `${at}%` }} title="nothing in flight, folded">{duration(each.to - each.from)}</span>)}
          {!marks.some(mark => mark.said && mark.at > 84) && <span className="r" style={{ left: '100%' }}>+{duration(line.totalMs)}</span>}</div>
        <div className="rows" style={{ height: steps.length * rowHeight }}>
          <div className="over" aria-hidden="true">
            {line.folds.map(each => <div key={each.from} className="fold" style={{ left: `${each.left}%`, width: `${each.width}%` }} />)}
            {marks.map(mark => <Mark key={mark.look} x={mark.at} look={mark.look}>{mark.said ? mark.text : null}</Mark>)}
          </div>
          {items.map(({ row, top }) => (
            <div key={row.name} className={row.name === selected ? 'line sel' : 'line'} style={{ top }}>
              <button type="button" className="name" aria-pressed={row.name === selected} onClick={() => onSelect(row.name)} title={row.text}><Sign step={then ? then.steps.get(row.name) ?? null : row.run} /><span className="cut">{row.name}</span><span className="sr">: {row.text}</span></button>
              <div className="tr" aria-hidden="true"><Bars row={row} line={line} to={to} due={dues.get(row.name)} committed={run.committedAt !== null} until={then?.at ?? null} seq={then?.seq ?? null} /></div>
            </div>
          ))}
        </div>
      </div>
    </>
  )
}

/** Which of these are far enough from those before them to say their words. */
function apart<T extends { at: number }>(all: readonly T[], gap: number, from = 0, to = 100): (T & { said: boolean })[] {
  const said: number[] = []
  return all.map(each => {
    const free = each.at >= from && each.at <= to && said.every(other => Math.abs(other - each.at) >= gap)
    if (free) said.push(each.at)
    return { ...each, said: free }
  })
}

const Mark = ({ x, look, children }: { x: number; look: string; children: string | null }) => <div className={`mark ${look}${x > 92 ? ' end' : x < 6 ? ' start' : ''}`} style={{ left: `${x}%` }}>{children && <span>{children}</span>}</div>

interface Line { name: string; run: StepRun | null; shape: Shape | null; text: string }

function rowsOf(shapes: readonly Shape[], run: Run, saga: Saga): Line[] {
  const known = new Map(shapes.map(shape => [shape.name, shape]))
  const names = [...shapes.map(shape => shape.name), ...saga.steps.map(step => step.name).filter(name => !known.has(name)), ...[...run.steps.keys()].filter(name => !known.has(name) && !saga.steps.some(step => step.name === name))]
  return names.map(name => {
    const step = run.steps.get(name) ?? null
    return { name, run: step, shape: known.get(name) ?? known.get(name.replace(/\[\d+\]$/, '')) ?? null, text: step === null ? 'not sent' : [...step.first, ...step.second].map(inWords).join('; ') }
  })
}

const inWords = (a: Attempt) => `${a.phase} ${a.n} ${a.outcome === 'open' ? 'is out' : a.outcome === 'lost' ? 'had no answer' : a.outcome}${a.endAt === null ? '' : ` after ${duration(a.endAt - a.sentAt)}`}`

function Sign({ step }: { step: StepRun | null }) {
  const { tone, icon } = stepSignOf(step?.status ?? 'Pending', step?.stuck ?? false)
  return <Icon name={icon} tone={tone} />
}

function Bars({ row, line, to, due, committed, until, seq }: { row: Line; line: Axis; to: number; due: number | undefined; committed: boolean; until: number | null; seq: number | null }) {
  if (!row.run) return null
  const final = row.shape?.second === null || (committed && row.shape?.second !== 'tcc')
  const settled = row.run.second.some(attempt => attempt.outcome === 'ok')
  const bar = (attempt: Attempt) => {
    const second = isSecond(attempt.phase)
    const back = attempt.phase === 'cancel' || attempt.phase === 'compensate'
    const tone = attempt.outcome === 'refused' || attempt.outcome === 'error' || attempt.outcome === 'lost' ? 'fault' : second ? (back ? 'undo' : 'keep') : settled ? 'none' : final ? 'keep' : 'try'
    const look = attempt.outcome === 'error' ? ' err' : attempt.outcome === 'lost' ? ' unk' : attempt.outcome === 'busy' ? ' next' : ''
    const left = line.x(attempt.sentAt)
    const right = line.x(attempt.endAt ?? to)
    const box = (from: number, end: number, ghost = '') => <i key={attempt.seq + ghost} className={`bar${second ? ' b' : ''}${back ? ' back' : ''}${look}${attempt.outcome === 'open' ? ' open' : ''}${ghost}`} data-p={look === ' next' ? 'wait' : tone} style={{ left: `${from}%`, width: `${Math.max(0, end - from)}%` }} title={inWords(attempt)} />
    if (until === null || seq === null) return box(left, right)
    if (attempt.seq > seq) return box(left, right, ' ghost')
    const cut = Math.max(left, Math.min(right, line.x(until)))
    return cut < right - 0.2 ? [box(left, cut), box(cut, right, ' ghost')] : box(left, right)
  }
  return <>{row.run.first.map(bar)}<Label attempts={row.run.first} line={line} to={to} row={row} final={final} settled={settled} due={row.run.second.length > 0 ? undefined : due} />{row.run.second.map(bar)}<Label attempts={row.run.second} line={line} to={to} row={row} final={final} settled={settled} due={due} second />
    {due !== undefined && until === null && <i className={`bar next${row.run.second.length > 0 ? ' b' : ''}`} data-p={row.run.second.at(-1)?.phase === 'confirm' ? 'keep' : row.run.second.length > 0 ? 'undo' : 'try'} style={{ left: `${line.x(due)}%`, width: '1.2%' }} title={`next attempt in ${duration(due - now())}`} />}</>
}

function Label({ attempts, line, to, row, final, settled, due, second = false }: { attempts: Attempt[]; line: Axis; to: number; due?: number | undefined; row: Line; final: boolean; settled: boolean; second?: boolean }) {
  const last = attempts.at(-1)
  if (!last) return null
  // The words stand behind the last sign of the row, which may be the attempt to come.
  const right = Math.max(line.x(last.endAt ?? to), due === undefined ? 0 : line.x(due) + 1.4)
  const took = last.endAt === null ? '' : duration(last.endAt - last.sentAt)
  const bad = last.outcome === 'refused' || last.outcome === 'error' || last.outcome === 'lost'
  const text = last.outcome === 'refused' ? 'refused' : last.outcome === 'lost' ? `no answer, ${took}` : last.outcome === 'error' ? (attempts.length > 1 ? `${attempts.length} failed` : 'failed') : last.outcome === 'open' ? '' : second || final || settled ? took : `${took}, held`
  if (text === '') return null
  const fits = right < 84
  // Before the bars, or inside the end of a single one that has the room.
  const before = attempts.length > 1 || due !== undefined || right - line.x(last.sentAt) < 14
  return <span className={`bl${second ? ' b' : ''}${fits ? '' : ' pre'}`} data-p={bad ? 'fault' : second && row.run?.second.at(-1)?.phase !== 'confirm' ? 'undo' : undefined} style={{ left: fits ? `calc(${right}% + 3px)` : before ? `${line.x(attempts[0]!.sentAt)}%` : `${right}%` }}>{text}</span>
}
