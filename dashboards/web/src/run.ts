// A run, told again from its history: every attempt, when the saga crossed the commit line or turned back, and how each step stood at any moment.
import type { DefinitionStep, HistoryEntry, SagaStatus, StepStatus } from './api'

export type Phase = 'try' | 'confirm' | 'cancel' | 'do' | 'compensate' | 'check'
export type Outcome = 'open' | 'ok' | 'refused' | 'error' | 'busy' | 'lost' | 'resolved'

export interface Attempt {
  step: string
  phase: Phase
  n: number
  seq: number
  sentAt: number
  /** When its answer came, or when it was given up; null while it is out. */
  endAt: number | null
  outcome: Outcome
  detail: string | null
  /** Answered 202: the outcome comes later. */
  accepted: boolean
}

export interface StepRun {
  name: string
  status: StepStatus
  stuck: boolean
  first: Attempt[]
  second: Attempt[]
  /** What the step was skipped, refused or resolved with. */
  note: string | null
}

export interface Run {
  attempts: Attempt[]
  steps: Map<string, StepRun>
  status: SagaStatus
  paused: boolean
  startedAt: number | null
  committedAt: number | null
  turnedBack: { at: number; step: string | null; why: string; seq: number } | null
  endedAt: number | null
  /** The last entry that was told. */
  seq: number
  at: number | null
}

export const isSecond = (phase: Phase) => phase === 'confirm' || phase === 'cancel' || phase === 'compensate'

/** Tells the run up to and with entry `until`; all of it when there is none. */
export function tell(history: readonly HistoryEntry[], until = Number.POSITIVE_INFINITY): Run {
  const run: Run = { attempts: [], steps: new Map(), status: 'Running', paused: false, startedAt: null, committedAt: null, turnedBack: null, endedAt: null, seq: 0, at: null }
  const open = new Map<string, Attempt>()
  const stepOf = (name: string) => {
    let step = run.steps.get(name)
    if (!step) run.steps.set(name, (step = { name, status: 'Pending', stuck: false, first: [], second: [], note: null }))
    return step
  }
  for (const entry of history) {
    if (entry.seq > until) break
    const at = Date.parse(entry.time)
    run.seq = entry.seq
    run.at = at
    const phase = entry.phase as Phase | null
    const step = entry.step === null ? null : stepOf(entry.step)
    const key = `${entry.step}/${phase}/${entry.attempt}`
    switch (entry.event) {
      case 'started': run.startedAt = at; break
      case 'sent': {
        if (!step || !phase) break
        const attempt: Attempt = { step: step.name, phase, n: entry.attempt ?? 1, seq: entry.seq, sentAt: at, endAt: null, outcome: 'open', detail: null, accepted: false }
        run.attempts.push(attempt)
        ;(isSecond(phase) ? step.second : step.first).push(attempt)
        open.set(key, attempt)
        step.status = underWay(phase)
        break
      }
      case 'accepted': { const attempt = open.get(key); if (attempt) attempt.accepted = true; break }
      case 'replied': {
        if (!step || !phase) break
        const attempt = open.get(key)
        const outcome = (entry.outcome ?? 'ok') as Outcome
        // A reply that came after its attempt was given up tells of the effect, but moves nothing.
        const late = entry.detail === 'late'
        if (attempt && (attempt.endAt === null || !late)) {
          attempt.endAt = at
          attempt.outcome = outcome
          attempt.detail = late ? null : entry.detail
        }
        if (late) break
        if (outcome === 'ok') { step.status = finished(phase); step.stuck = false }
        else if (outcome === 'refused' && !isSecond(phase)) { step.status = 'Refused'; step.note = entry.detail }
        break
      }
      case 'timed-out': {
        const attempt = open.get(key)
        if (attempt && attempt.endAt === null) { attempt.endAt = at; attempt.outcome = 'lost' }
        break
      }
      case 'resolved':
        if (step && phase) {
          const attempt = (isSecond(phase) ? step.second : step.first).at(-1)
          if (attempt && attempt.endAt === null) { attempt.endAt = at; attempt.outcome = 'resolved' }
          step.status = entry.detail === 'done' ? finished(phase) : isSecond(phase) ? step.status : 'Failed'
          step.stuck = false
          step.note = `${entry.detail}, says ${entry.by}`
        }
        break
      case 'mapping-failed': if (step) { step.status = isSecond(phase ?? 'do') ? step.status : 'Refused'; step.note = entry.detail } break
      case 'skipped': if (step) step.status = 'Skipped'; break
      case 'stuck': if (step) step.stuck = true; break
      case 'turned-back': run.turnedBack = { at, step: entry.step, why: entry.detail ?? '', seq: entry.seq }; break
      case 'committed': run.committedAt = at; break
      case 'paused': run.paused = true; break
      case 'resumed': case 'cancel-requested': run.paused = false; break
      case 'completed': run.status = 'Completed'; run.endedAt = at; break
      case 'compensated': run.status = 'Compensated'; run.endedAt = at; break
      case 'terminated': run.status = 'Terminated'; run.endedAt = at; break
    }
  }
  if (run.endedAt === null) {
    const stuck = [...run.steps.values()].some(step => step.stuck)
    run.status = stuck ? 'Stuck' : run.turnedBack ? 'Compensating' : run.committedAt !== null ? 'Confirming' : 'Running'
  }
  // A try that was still out when the saga turned back, and that nothing undid, is over.
  if (run.turnedBack && run.endedAt !== null) for (const step of run.steps.values()) if ((step.status === 'Doing' || step.status === 'Trying') && step.second.length === 0) step.status = 'Failed'
  return run
}

const underWay = (phase: Phase): StepStatus =>
  ({ try: 'Trying', confirm: 'Confirming', cancel: 'Cancelling', do: 'Doing', check: 'Doing', compensate: 'Compensating' } as const)[phase]
const finished = (phase: Phase): StepStatus =>
  ({ try: 'Tried', confirm: 'Confirmed', cancel: 'Cancelled', do: 'Done', check: 'Done', compensate: 'Compensated' } as const)[phase]

/** How a step is drawn: one lane for each phase it can have. */
export interface Shape { name: string; first: 'Try' | 'Do' | 'Check' | 'Wait' | 'Delay' | 'Child'; second: 'tcc' | 'compensate' | null; afterCommit: boolean; pivot: boolean; readOnly: boolean; kind: string; depth: number }

/** The shape of a definition's steps in the order of the graph, those before the commit line first. Branches of a for-each fold into their step. */
export function shapes(steps: readonly DefinitionStep[], pivot: string | null): Shape[] {
  const byName = new Map(steps.map(step => [step.name, step]))
  const after = new Set<string>()
  const depth = new Map<string, number>()
  // Definitions list a step after those that it depends on.
  for (const step of steps) {
    if (pivot !== null && step.after.some(before => before === pivot || after.has(before))) after.add(step.name)
    depth.set(step.name, Math.max(0, ...step.after.filter(before => byName.has(before)).map(before => (depth.get(before) ?? 0) + 1)))
  }
  const drawn = steps.map((step): Shape => {
    const tcc = step.try !== undefined || step.kind === 'tcc'
    const first = tcc ? 'Try' : step.kind === 'check' ? 'Check' : step.kind === 'wait' ? 'Wait' : step.kind === 'delay' ? 'Delay' : step.kind === 'child' ? 'Child' : 'Do'
    const forward = after.has(step.name)
    const second = tcc ? 'tcc' : step.compensate !== undefined ? 'compensate' : null
    const kind = tcc ? 'TCC' : step.pivot ? 'pivot' : step.readOnly || step.kind === 'check' ? 'read-only' : first !== 'Do' ? step.kind : second ? 'do, undo' : 'forward only'
    return { name: step.name, first, second, afterCommit: forward, pivot: step.pivot, readOnly: step.readOnly, kind, depth: depth.get(step.name) ?? 0 }
  })
  return [...drawn.filter(shape => !shape.afterCommit), ...drawn.filter(shape => shape.afterCommit)]
}

export type Tone = 'try' | 'keep' | 'undo' | 'fault' | 'wait' | 'none'
/** A lane's look: `run` under way, `held` open, `ok` settled with effect, `past` settled since, `no` against us, `idle` nothing sent. */
export interface Lane { tone: Tone; state: 'idle' | 'run' | 'held' | 'ok' | 'past' | 'no'; word: string }

/** Both lanes of a step. `heard` says whether its first phase is known to have taken effect. */
export function lanes(shape: Shape, status: StepStatus, more: { committed: boolean; stuck: boolean; heard: boolean }): [Lane, Lane | null] {
  const idle = (word: string): Lane => ({ tone: 'none', state: 'idle', word })
  const undo = shape.second === 'tcc' ? 'Cancel' : 'Compensate'
  const open = shape.second === 'tcc' ? 'Cancel or confirm' : 'Compensate'
  const second = shape.second === null ? null : idle(more.committed && shape.second === 'compensate' ? 'Compensate, not needed' : open)
  const final = shape.second === null || more.committed
  const lane = (tone: Tone, state: Lane['state'], word: string): Lane => ({ tone, state, word })
  const before = more.heard ? lane('try', 'held', shape.first) : lane('fault', 'no', shape.first)
  const done = more.heard ? lane('none', 'past', shape.first) : lane('fault', 'no', shape.first)
  switch (status) {
    case 'Trying': case 'Doing': return [more.stuck ? lane('fault', 'no', shape.first) : lane(shape.afterCommit || shape.readOnly ? 'keep' : 'try', 'run', shape.first), second]
    case 'Waiting': return [lane('wait', 'run', shape.first), second]
    case 'Tried': return [lane('try', 'held', shape.first), second]
    case 'Done': return [final ? lane('keep', 'ok', shape.first) : lane('try', 'held', shape.first), second]
    case 'Confirming': return [lane('try', 'held', shape.first), more.stuck ? lane('fault', 'no', 'Confirm') : lane('keep', 'run', 'Confirm')]
    case 'Confirmed': return [lane('none', 'past', shape.first), lane('keep', 'ok', 'Confirm')]
    case 'Cancelling': case 'Compensating': return [before, more.stuck ? lane('fault', 'no', undo) : lane('undo', 'run', undo)]
    case 'Cancelled': case 'Compensated': return [done, lane('undo', 'ok', undo)]
    case 'Refused': case 'Failed': return [lane('fault', 'no', shape.first), second && idle(`${undo}, not needed`)]
    case 'Skipped': return [lane('none', 'past', `${shape.first}, skipped`), null]
    default: return [idle(shape.first), second]
  }
}
