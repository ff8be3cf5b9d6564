// The explorer's verdict on a definition, and the story that breaks a promise when there is one: told in lines, and drawn as messages.
import { useMutation } from '@tanstack/react-query'
import { useEffect, useRef } from 'react'
import { api, ask, type DefinitionStep, type Verification as Verdict } from './api'
import { participantOf } from './graph'
import { Icon } from './icons'
import { Copy, Took, Trouble } from './parts'
import type { Tone } from './run'
import { count, duration, now } from './time'

type Line = Verdict['counterexample'][number]

export interface Verifying { version: number; begunAt: string | null; verdict: Verdict | undefined; error: Error | null; run: () => void; stop: () => void }

/** One verification at a time of one version. Leaving the page or the version ends the request, and with it the server's search. */
export function useVerification(name: string, version: number): Verifying {
  const abort = useRef<AbortController | null>(null)
  const { mutate, reset, data, error, isPending, submittedAt } = useMutation({
    mutationFn: (signal: AbortSignal) => ask(api.POST('/api/v1/definitions/{name}/verify', { params: { path: { name }, query: { version } }, body: {}, signal })),
  })
  const stop = () => {
    abort.current?.abort()
    reset()
  }
  useEffect(() => () => {
    abort.current?.abort()
    reset()
  }, [name, version, reset])
  const run = () => {
    abort.current = new AbortController()
    mutate(abort.current.signal)
  }
  return { version, begunAt: isPending ? new Date(submittedAt + now() - Date.now()).toISOString() : null, verdict: data, error, run, stop }
}

const words = {
  holds: { tone: 'keep', icon: 'shield', head: 'Holds.', text: 'Every order of every event and fault within the bounds was tried; no promise breaks.' },
  bounded: { tone: 'none', icon: 'unknown', head: 'No verdict: nothing is broken so far, but not all was tried.', text: 'The search met the time or the states that this server allows. Verify with lower bounds over REST or on the command line, or raise Sagas:Verify:TimeLimit and MaxStates.' },
  violated: { tone: 'fault', icon: 'failed', head: 'Violated.', text: 'This is the shortest story that breaks a promise.' },
} as const

export function Verification({ name, verifying, steps }: { name: string; verifying: Verifying; steps: readonly DefinitionStep[] }) {
  const { version, begunAt, verdict, error, stop } = verifying
  if (begunAt !== null) return (
    <section className="card" aria-label="Verification" aria-busy="true">
      <header><h2>Verification of v{version}</h2><small><Took from={begunAt} to={null} /></small><span className="grow" /><button type="button" className="btn" onClick={stop}><Icon name="no" />Stop</button></header>
      <progress aria-label="Verifying" />
      <div className="calm" role="status"><Icon name="shield" />Trying every order of every event and fault: without retries, with losses and duplicates, with errors.</div>
    </section>
  )
  if (!verdict) return error && <section className="card" aria-label="Verification"><header><h2>Verification of v{version}</h2></header><div className="pad"><Trouble error={error} again={verifying.run} /></div></section>
  const said = words[verdict.verdict]
  const lines = verdict.counterexample
  return (
    <section className="card" aria-label="Verification">
      <header><h2>Verification of v{version}</h2><small>{duration(verdict.seconds * 1000)}</small><span className="grow" /><small>{count(verdict.states)} states, {count(verdict.transitions)} transitions</small></header>
      <div className="verdict" data-p={said.tone} role="status"><Icon name={said.icon} /><div><h3><em>{said.head}</em> {verdict.promise ?? ''}</h3><p className="soft">{said.text}</p></div></div>
      {lines.length > 0 && <Story lines={lines} steps={steps} />}
      {lines.length > 0 && <div className="row pad"><span className="grow" /><Copy text={() => `# ${name} v${version}\n${lines.map((line, i) => `${i + 1}. ${line.text}`).join('\n')}\n`} label="Copy the story">Copy the story</Copy></div>}
      <div className="scroll"><table className="cards plaincards">
        <thead><tr><th>Bounds</th><th>Verdict</th><th className="num">States</th><th className="num">Transitions</th><th className="num">Depth</th></tr></thead>
        <tbody>{verdict.runs.map(run => <tr key={run.bounds}><td className="runbounds">{run.bounds}</td><td>{run.verdict}</td><td className="num">{count(run.states)}<small className="only-narrow"> states</small></td><td className="num">{count(run.transitions)}<small className="only-narrow"> transitions</small></td><td className="num">{run.depth}<small className="only-narrow"> deep</small></td></tr>)}
          {verdict.notRun.map(bounds => <tr key={bounds}><td className="runbounds">{bounds}</td><td>not begun</td><td className="num wide">0</td><td className="num wide">0</td><td className="num wide">0</td></tr>)}</tbody>
      </table></div>
    </section>
  )
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
      <div className="seq" tabIndex={0} role="group" aria-label="Messages"><svg width={width} height={height + 30} viewBox={`0 0 ${width} ${height + 30}`} role="img" aria-label={`The same story as messages between ${columns.join(', ')}`}>
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
