// The explorer's verdict on a definition, and the story that breaks a promise when there is one: told in lines, and drawn as messages.
import type { DefinitionStep } from './api'
import { participantOf } from './graph'
import { Icon } from './icons'
import { Copy, Trouble } from './parts'
import { request } from './rest'
import type { Tone } from './run'
import { count, duration } from './time'

export interface Line { text: string; from: string | null; to: string | null; step: string | null; phase: string | null }
export interface Verdict { verdict: 'holds' | 'violated' | 'bounded'; states: number; transitions: number; seconds: number; bounds: unknown; counterexample: (Line | string)[] | null; violated?: string | null; promise?: string | null }

export const verify = (name: string, version: number | undefined) => request<Verdict>('POST', `/api/v1/definitions/${encodeURIComponent(name)}/verify${version === undefined ? '' : `?version=${version}`}`, {})

const words = {
  holds: { tone: 'keep', icon: 'shield', head: 'Holds.', text: 'Every order of every event and fault within the bounds was tried; no promise breaks.' },
  bounded: { tone: 'none', icon: 'unknown', head: 'Nothing found, but not all was tried.', text: 'The search ended at its bounds before every order was seen.' },
  violated: { tone: 'fault', icon: 'failed', head: 'Violated.', text: 'This is the shortest story that breaks a promise.' },
} as const

export function Verification({ name, version, verdict, error, steps }: { name: string; version: number; verdict: Verdict | undefined; error: Error | null; steps: readonly DefinitionStep[] }) {
  if (error || !verdict) return <section className="card" aria-label="Verification"><header><h2>Verification of v{version}</h2></header>{error && <div className="pad"><Trouble error={error} /></div>}</section>
  const said = words[verdict.verdict]
  const lines = (verdict.counterexample ?? []).map((line): Line => (typeof line === 'string' ? { text: line, from: null, to: null, step: null, phase: null } : line))
  const promise = verdict.promise ?? verdict.violated
  return (
    <section className="card" aria-label="Verification">
      <header><h2>Verification of v{version}</h2><small>{duration(verdict.seconds * 1000)}</small><span className="grow" /><small>{count(verdict.states)} states, {count(verdict.transitions)} transitions{boundsText(verdict.bounds)}</small></header>
      <div className="verdict" data-p={said.tone} role="status"><Icon name={said.icon} /><div><h3><em>{said.head}</em> {promise ?? ''}</h3><p className="soft">{said.text}</p></div></div>
      {lines.length > 0 && <Story lines={lines} steps={steps} />}
      {lines.length > 0 && <div className="row pad"><span className="grow" /><Copy text={() => `# ${name} v${version}\n${lines.map((line, i) => `${i + 1}. ${line.text}`).join('\n')}\n`} label="Copy the story">Copy the story</Copy></div>}
    </section>
  )
}

function boundsText(bounds: unknown): string {
  if (typeof bounds === 'string') return `; ${bounds}`
  if (typeof bounds !== 'object' || bounds === null) return ''
  const parts = Object.entries(bounds).filter(([, value]) => value !== null && value !== 0).map(([key, value]) => `${key} ${String(value)}`)
  return parts.length === 0 ? '' : `; ${parts.join(', ')}`
}

const rowHeight = 36
const columnWidth = 120

function Story({ lines, steps }: { lines: readonly Line[]; steps: readonly DefinitionStep[] }) {
  const byStep = new Map(steps.map(step => [step.name, participantOf(step)]))
  const place = (who: string | null, line: Line) => (who === null ? null : who === 'engine' ? 'engine' : byStep.get(who) ?? (who || (line.step === null ? null : byStep.get(line.step) ?? null)))
  const columns = ['engine', ...new Set(lines.flatMap(line => [place(line.from, line), place(line.to, line)]).filter((each): each is string => each !== null && each !== 'engine'))]
  const x = (name: string) => 50 + columns.indexOf(name) * columnWidth
  const width = 100 + (columns.length - 1) * columnWidth
  const height = lines.length * rowHeight
  return (
    <div className="story">
      <ol><li className="head2"><span>What happens</span></li>{lines.map((line, i) => <li key={i} className={i === lines.length - 1 ? 'hot' : ''}><span>{line.text}</span></li>)}</ol>
      <div className="seq"><svg width={width} height={height + 30} viewBox={`0 0 ${width} ${height + 30}`} role="img" aria-label={`The same story as messages between ${columns.join(', ')}`}>
        <path className="band" d={`M0 ${30 + height - rowHeight}h${width}v${rowHeight}H0z`} />
        {columns.map(name => <g key={name}><path className="life" d={`M${x(name)} 26V${height + 30}`} /><text x={x(name)} y={18} textAnchor="middle">{name}</text></g>)}
        {lines.map((line, i) => {
          const from = place(line.from, line)
          const to = place(line.to, line)
          const y = 30 + i * rowHeight + 24
          if (from === null && to === null) return null
          const a = x(from ?? to!)
          const b = x(to ?? from!)
          if (a === b) return <text key={i} className="t" data-p={toneOf(line, i === lines.length - 1)} x={a + 6} y={y - 4}>{short(line)}</text>
          const tip = b > a ? -7 : 7
          return <g key={i} data-p={toneOf(line, i === lines.length - 1)}><path className="msg" d={`M${a} ${y}H${b + (b > a ? -6 : 6)}`} /><path className="tipc" d={`M${b} ${y}l${tip} -4v8z`} /><text className="t" x={Math.min(a, b) + 6} y={y - 5}>{short(line)}</text></g>
        })}
      </svg></div>
    </div>
  )
}

const short = (line: Line) => [line.phase, line.step].filter(Boolean).join(' ')
const toneOf = (line: Line, last: boolean): Tone => (last ? 'fault' : line.phase === 'cancel' || line.phase === 'compensate' ? 'undo' : line.phase === 'confirm' ? 'keep' : 'try')
