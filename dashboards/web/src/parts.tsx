// The small parts that every screen is made of: signs, strips, times, dialogs, empty states.
import { Dialog as RadixDialog, DropdownMenu } from 'radix-ui'
import { Fragment, useState, useSyncExternalStore, type AnchorHTMLAttributes, type ReactNode } from 'react'
import type { ApiError, Problem, SagaStatus, StepStatus, Summary } from './api'
import { Icon, type IconName } from './icons'
import { setPaused, useLive, type LiveState } from './live'
import { setPrefs, usePrefs, type TimeMode } from './prefs'
import { lanes, type Lane, type Shape, type Tone } from './run'
import { age, duration, moment, now } from './time'

// ---------- status

const sagaSigns: Record<SagaStatus, [Tone, IconName]> = {
  Running: ['try', 'running'], Confirming: ['keep', 'confirming'], Compensating: ['undo', 'compensating'], Stuck: ['fault', 'stuck'],
  Completed: ['keep', 'completed'], Compensated: ['undo', 'compensated'], Terminated: ['none', 'terminated'],
}

const stepSigns: Record<StepStatus, [Tone, IconName]> = {
  Pending: ['none', 'pending'], Trying: ['try', 'running'], Tried: ['try', 'tried'], Confirming: ['keep', 'confirming'], Confirmed: ['keep', 'completed'],
  Cancelling: ['undo', 'compensating'], Cancelled: ['undo', 'compensated'], Doing: ['try', 'running'], Done: ['keep', 'completed'],
  Compensating: ['undo', 'compensating'], Compensated: ['undo', 'compensated'], Waiting: ['wait', 'waiting'], Skipped: ['none', 'skipped'],
  Refused: ['fault', 'refused'], Failed: ['fault', 'failed'],
}

export const signOf = (status: SagaStatus) => ({ tone: sagaSigns[status][0], icon: sagaSigns[status][1] })
export const stepSignOf = (status: StepStatus, stuck = false) => (stuck ? { tone: 'fault' as Tone, icon: 'stuck' as IconName } : { tone: stepSigns[status][0], icon: stepSigns[status][1] })

export function Status({ status, pill, children }: { status: SagaStatus; pill?: boolean; children?: ReactNode }) {
  const { tone, icon } = signOf(status)
  return <span className={pill ? 'st pill' : 'st'} data-p={tone}><Icon name={icon} />{children ?? status}</span>
}

export function StepSign({ status, stuck = false }: { status: StepStatus; stuck?: boolean }) {
  const { tone, icon } = stepSignOf(status, stuck)
  return <span className="st" data-p={tone}><Icon name={icon} />{stuck ? `${status}, stuck` : status}</span>
}

export const Flags = ({ saga }: { saga: { paused: boolean; mixed: boolean } }) => <>{saga.paused && <span className="flag">paused</span>}{saga.mixed && <span className="flag">mixed</span>}</>

// ---------- the strip: a column a step, above its first phase, below its second, and the commit line at the same place in every row

const lineX = 84
const cellW = 11

interface Cell { shape: Shape; x: number; w: number; lanes: [Lane, Lane | null] }

/** What a strip needs to know: a line of the list, or a whole saga. */
type Drawable = Pick<Summary, 'id' | 'status' | 'committed' | 'step' | 'steps'>

function cells(shapes: readonly Shape[], saga: Drawable): { cells: Cell[]; width: number; start: number } {
  const steps = new Map(saga.steps.map(step => [step.name, step]))
  const turnedBack = saga.status === 'Compensating' || saga.status === 'Compensated'
  const drawn = shapes.map(shape => {
    const step = steps.get(shape.name)
    const stuck = saga.status === 'Stuck' && saga.step === shape.name
    return { shape, lanes: lanes(shape, step?.status ?? 'Pending', { committed: saga.committed && !turnedBack, stuck, heard: step?.first !== 'no' }) }
  })
  const before = drawn.filter(cell => !cell.shape.afterCommit)
  const after = drawn.filter(cell => cell.shape.afterCommit)
  const gap = (i: number, list: typeof drawn) => (i > 0 && list[i - 1]!.shape.depth === list[i]!.shape.depth ? 2 : 5)
  const natural = before.reduce((sum, _, i) => sum + cellW + (i === 0 ? 0 : gap(i, before)), 0)
  const scale = Math.min(1, (lineX - 8) / Math.max(1, natural))
  let x = lineX - 5 - natural * scale
  const placed = before.map((cell, i): Cell => {
    if (i > 0) x += gap(i, before) * scale
    const at = { ...cell, x, w: cellW * scale }
    x += cellW * scale
    return at
  })
  x = lineX + 5
  const room = 36
  const rest = Math.min(1, room / Math.max(1, after.length * (cellW + 5)))
  for (const cell of after) {
    placed.push({ ...cell, x, w: cellW * rest })
    x += (cellW + 5) * rest
  }
  return { cells: placed, width: Math.max(lineX + 2, x - 5 * rest + 1), start: Math.min(lineX, ...placed.map(cell => cell.x)) - 1 }
}

/** How every step stands, small: the vocabulary's two lanes and the commit line. */
export function Strip({ shapes, saga, short = false }: { shapes: readonly Shape[]; saga: Drawable; short?: boolean }) {
  if (saga.steps.length === 0) return null
  const { cells: drawn, width, start } = cells(shapes.length > 0 ? shapes : unknownShapes(saga), saga)
  return (
    <svg className="strip" width={short ? width - start : Math.max(122, width)} height="20" viewBox={short ? `${start} 0 ${width - start} 20` : undefined} role="img" aria-label={stripText(drawn, saga.committed)}>
      {drawn.map(({ shape, x, w, lanes: [first, second] }) => (
        <Fragment key={shape.name}>
          <Upper x={x} w={w} lane={first} />
          {second && <Lower x={x} w={w} lane={second} />}
        </Fragment>
      ))}
      <path className={saga.committed ? 'cl on' : 'cl'} d={`M${lineX} -7v34`} />
    </svg>
  )
}

function Upper({ x, w, lane }: { x: number; w: number; lane: Lane }) {
  const box = { x, y: 1.5, width: w, height: 7 }
  if (lane.state === 'idle') return <rect className="o" {...box} />
  if (lane.state === 'no') return <g data-p={lane.tone}><rect className="co" {...box} /><path className="x" d={`M${x + w / 2 - 2} 3l4 4m0-4-4 4`} /></g>
  if (lane.state === 'run') return <g data-p={lane.tone}><rect className="co" {...box} /><rect className="c" {...box} width={w / 2} /></g>
  return <rect className="c" data-p={lane.tone} {...box} />
}

function Lower({ x, w, lane }: { x: number; w: number; lane: Lane }) {
  const tip = Math.min(4, w / 2.5)
  const left = `M${x + tip} 11.5h${w - tip}v7h${tip - w}l${-tip} -3.5z`
  const right = `M${x} 11.5h${w - tip}l${tip} 3.5 ${-tip} 3.5h${tip - w}z`
  const back = lane.word === 'Cancel' || lane.word === 'Compensate'
  if (lane.state === 'idle') return lane.word.endsWith('not needed') ? null : <rect className="o" x={x} y="11.5" width={w} height="7" />
  if (lane.state === 'no') return <g data-p="fault"><path className="co" d={back ? left : right} /><path className="x" d={`M${x + w / 2 + (back ? 1 : -1)} 13v2.2m0 2v.1`} /></g>
  if (lane.state === 'run') return <g data-p={lane.tone}><path className="co" d={back ? left : right} /><rect className="c" x={back ? x + w / 2 : x} y="11.5" width={w / 2} height="7" /></g>
  return <path className="c" data-p={lane.tone} d={back ? left : right} />
}

function stripText(drawn: Cell[], committed: boolean): string {
  const at = (state: (lane: Lane) => boolean) => drawn.filter(cell => cell.lanes.some(lane => lane !== null && state(lane))).map(cell => cell.shape.name)
  const part = (names: string[], words: string) => (names.length === 0 ? null : `${names.join(', ')} ${words}`)
  return [
    part(at(l => l.tone === 'fault'), 'refused or failing'), part(at(l => l.state === 'run'), 'under way'), part(at(l => l.tone === 'try' && l.state === 'held'), 'held'),
    part(at(l => l.tone === 'undo' && l.state === 'ok'), 'undone'), part(at(l => l.tone === 'keep' && l.state === 'ok'), 'kept'), committed ? 'commit point passed' : 'commit point not passed',
  ].filter(Boolean).join('; ')
}

/** Steps of a definition that is no longer loaded: one lane each, in their order. */
const unknownShapes = (saga: Drawable): Shape[] => saga.steps.map((step, i) => ({
  name: step.name, first: /Try|Tried|Confirm|Cancel/.test(step.status) ? 'Try' : 'Do', second: step.second === 'none' ? null : /Compensat/.test(step.status) ? 'compensate' : 'tcc',
  afterCommit: false, pivot: false, readOnly: false, kind: '', depth: i,
}))

// ---------- time

let tick = 0
const tickers = new Set<() => void>()
if (typeof document !== 'undefined') {
  setInterval(() => {
    if (document.hidden || tickers.size === 0) return
    tick = now()
    for (const ticker of tickers) ticker()
  }, 1000)
}

/** Now, told once a second. */
export function useNow(): number {
  useSyncExternalStore(ticker => (tickers.add(ticker), () => tickers.delete(ticker)), () => tick)
  return now()
}

export function Time({ at, millis = false }: { at: string | number | null | undefined; millis?: boolean }) {
  const { times } = usePrefs()
  if (at === null || at === undefined) return null
  const time = typeof at === 'number' ? at : Date.parse(at)
  const iso = new Date(time).toISOString()
  return times === 'relative' ? <Relative time={time} iso={iso} /> : <time dateTime={iso} title={iso}>{moment(time, times, now(), millis)}</time>
}

function Relative({ time, iso }: { time: number; iso: string }) {
  return <time dateTime={iso} title={iso}>{moment(time, 'relative', useNow())}</time>
}

/** How long it took, or how long it has been going. */
export function Took({ from, to }: { from: string; to: string | null }) {
  return to === null ? <Growing from={Date.parse(from)} /> : <>{duration(Date.parse(to) - Date.parse(from))}</>
}

const Growing = ({ from }: { from: number }) => <>{age(useNow() - from)}</>

/** Time to go until something due; what is past due is about to happen. */
export function Due({ at }: { at: string | null }) {
  return at === null ? null : <DueIn at={Date.parse(at)} />
}

function DueIn({ at }: { at: number }) {
  const rest = at - useNow()
  return <span title={new Date(at).toISOString()}>{rest <= 0 ? 'now' : `in ${rest < 10_000 ? `${(rest / 1000).toFixed(0)} s` : age(rest)}`}</span>
}

export function TimesSwitch() {
  const { times } = usePrefs()
  const modes: [TimeMode, string][] = [['local', 'Local'], ['utc', 'UTC'], ['relative', 'Relative']]
  return (
    <div className="seg" role="group" aria-label="Times">
      {modes.map(([mode, word]) => <button key={mode} type="button" aria-pressed={times === mode} onClick={() => setPrefs({ times: mode })}>{word}</button>)}
    </div>
  )
}

export function Live({ state, children }: { state?: LiveState; children?: ReactNode }) {
  const live = useLive()
  const words = { live: 'Live', polling: 'Asking every few seconds', paused: 'Paused', ended: 'Ended, nothing more will change' }[state ?? live]
  // Numbers that change each second are not read out; a change of the connection is.
  const told = children !== undefined && live === 'live' && !state
  const shown = state ?? live
  return <span className={shown === 'ended' || shown === 'paused' ? 'live off' : shown === 'polling' ? 'live slow' : 'live'} role={told ? undefined : 'status'}>{told ? children : words}</span>
}

export function PauseButton() {
  const paused = useLive() === 'paused'
  return <button type="button" className="btn icon" aria-pressed={paused} aria-label={paused ? 'Resume live updates' : 'Pause live updates'} title={`${paused ? 'Resume' : 'Pause'} live updates (p)`} onClick={() => setPaused(!paused)}><Icon name={paused ? 'play' : 'paused'} /></button>
}

// ---------- words and boxes

/** What a saga waits for, without the moment: that is told beside it, in the reader's own way. */
export const waits = (text: string | null) => text?.replace(/ at \d{4}-\d\d-\d\dT[\d:.]+Z/, '') ?? null

/** A link with no address of its own gets the look, not the role. */
export const Link = ({ children, ...rest }: AnchorHTMLAttributes<HTMLAnchorElement> & { href: string }) => <a {...rest}>{children}</a>

export function Copy({ text, label, children }: { text: string | (() => string); label: string; children?: ReactNode }) {
  const [state, setState] = useState<'idle' | 'done' | 'no'>('idle')
  const copy = async () => {
    const value = typeof text === 'string' ? text : text()
    setState((await toClipboard(value)) ? 'done' : 'no')
    setTimeout(() => setState('idle'), 1600)
  }
  const said = state === 'done' ? 'Copied' : state === 'no' ? 'The browser forbids copying' : label
  return children
    ? <button type="button" className="btn" onClick={() => void copy()}>{state === 'idle' ? children : said}<span className="sr" role="status">{state === 'idle' ? '' : said}</span></button>
    : <button type="button" className="btn bare icon" aria-label={said} title={said} onClick={() => void copy()}><Icon name={state === 'done' ? 'check' : state === 'no' ? 'no' : 'copy'} /></button>
}

export async function toClipboard(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    // Plain http on a host that is not local has no clipboard API.
    const area = document.createElement('textarea')
    area.value = text
    area.className = 'sr'
    document.body.append(area)
    area.select()
    const done = document.execCommand('copy')
    area.remove()
    return done
  }
}

/** JSON as text, never as markup; keys are dimmer than values. */
export function Json({ value, label }: { value: unknown; label: string }) {
  const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2) ?? 'undefined'
  const parts = text.length > 20_000 ? [text] : text.split(/("(?:[^"\\]|\\.)*"(?=\s*:))/)
  return <pre className="json" tabIndex={0} aria-label={label}>{parts.map((part, i) => (i % 2 === 1 ? <i key={i}>{part}</i> : part))}</pre>
}

export function Empty({ icon = 'list', title, children }: { icon?: IconName; title: string; children?: ReactNode }) {
  return <div className="empty"><Icon name={icon} /><b>{title}</b>{children && <p>{children}</p>}</div>
}

/** What went wrong with a question to the server; in the server's own words. */
export function Trouble({ error, again }: { error: ApiError | Error; again?: () => void }) {
  const problem: Problem | null = 'problem' in error ? error.problem : null
  if ('unknownCall' in error && error.unknownCall) return <Empty icon="nodes" title="This server does not have this yet">It answers that it knows no such call. A newer version of the server has it.</Empty>
  return (
    <div className="alert" data-p="fault" role="alert"><Icon name="failed" tone="fault" />
      <div><h2>{problem?.title ?? 'No answer'}</h2><p>{error.message}</p></div>
      {again && <div className="row"><button type="button" className="btn" onClick={again}>Ask again</button></div>}
    </div>
  )
}

export function Dialog({ title, open, close, children, wide = false }: { title: ReactNode; open: boolean; close: () => void; children: ReactNode; wide?: boolean }) {
  return (
    <RadixDialog.Root open={open} onOpenChange={next => { if (!next) close() }}>
      <RadixDialog.Portal>
        {/* Radix' own overlay locks scrolling with a style element, which the page's policy forbids; this one needs none. */}
        <div className="overlay" />
        <RadixDialog.Content className={wide ? 'dialog wide-dialog' : 'dialog'} aria-describedby={undefined}>
          <header><RadixDialog.Title asChild><h2>{title}</h2></RadixDialog.Title><span className="grow" /><RadixDialog.Close className="btn bare icon" aria-label="Close"><Icon name="x" /></RadixDialog.Close></header>
          {children}
        </RadixDialog.Content>
      </RadixDialog.Portal>
    </RadixDialog.Root>
  )
}

export function Menu({ label, children, className = 'btn', trigger }: { label: string; trigger: ReactNode; children: ReactNode; className?: string }) {
  return (
    <DropdownMenu.Root modal={false}>
      <DropdownMenu.Trigger className={className} aria-label={label}>{trigger}</DropdownMenu.Trigger>
      <DropdownMenu.Portal><DropdownMenu.Content className="menu" align="end" sideOffset={4} collisionPadding={8}>{children}</DropdownMenu.Content></DropdownMenu.Portal>
    </DropdownMenu.Root>
  )
}

export const MenuItem = ({ onSelect, children, danger = false }: { onSelect: () => void; children: ReactNode; danger?: boolean }) =>
  <DropdownMenu.Item className={danger ? 'danger' : ''} onSelect={onSelect}>{children}</DropdownMenu.Item>
export const MenuCheck = ({ checked, onChange, children }: { checked: boolean; onChange: (checked: boolean) => void; children: ReactNode }) =>
  <DropdownMenu.CheckboxItem checked={checked} onCheckedChange={onChange} onSelect={event => event.preventDefault()}><span className="tick">{checked && <Icon name="check" />}</span>{children}</DropdownMenu.CheckboxItem>

/** What could be read with the keyboard alone belongs to a control that says so. */
export function Segments<T extends string>({ label, value, options, onChange }: { label: string; value: T; options: readonly (readonly [T, ReactNode])[]; onChange: (value: T) => void }) {
  return (
    <div className="seg" role="group" aria-label={label}>
      {options.map(([key, word]) => <button key={key} type="button" aria-pressed={key === value} onClick={() => onChange(key)}>{word}</button>)}
    </div>
  )
}
