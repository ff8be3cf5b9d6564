// What is the matter with a saga, in sentences: what happened, what is still held, what comes next, and whether a person is needed.
import type { Saga } from './api'
import { isEnded } from './filters'
import type { Run, Shape, Tone } from './run'

export interface Story { tone: Tone; icon: 'stuck' | 'refused' | 'compensated' | 'terminated' | 'error' | 'paused' | 'unknown'; what: string; then: string; more: string[]; dueAt: string | null; seq: number | null }

/** Null: nothing is the matter. */
export function story(saga: Saga, run: Run, shapes: readonly Shape[]): Story | null {
  const stuck = saga.steps.filter(step => step.stuck)
  const failing = saga.steps.filter(step => !step.stuck && step.error !== null && step.nextAttemptAt !== null)
  const trouble = stuck[0] ?? failing[0]
  const ended = isEnded(saga.status)
  const seqOf = (name: string | null) => run.attempts.findLast(a => a.step === name && a.outcome !== 'ok' && a.outcome !== 'open')?.seq ?? run.turnedBack?.seq ?? null
  const dueAt = ended ? null : trouble?.nextAttemptAt ?? null
  const more: string[] = []

  if (saga.status === 'Terminated') {
    return {
      tone: 'none', icon: 'terminated', what: 'An operator ended it where it stood.', then: saga.mixed ? 'Some of it is kept and some is not.' : '', dueAt: null, seq: null,
      more: [...held(saga, shapes), ...(saga.error ? [saga.error.message] : [])],
    }
  }
  if (stuck.length > 0) {
    const step = stuck[0]!
    const phase = step.phase === 'compensate' ? 'compensation' : step.phase ?? 'command'
    if (stuck.length > 1) more.push(`So ${stuck.length === 2 ? 'is' : 'are'} ${list(stuck.slice(1).map(each => each.name))}.`)
    more.push(...undone(saga, shapes), ...held(saga, shapes))
    more.push(`It is still asked again by itself. If ${step.name} has been put right elsewhere, retry now; if it never will be, resolve the step.`)
    return { tone: 'fault', icon: 'stuck', what: `${step.name} is stuck: its ${phase} has failed ${times(step.failures)}.`, then: said(step.error?.message), more, dueAt, seq: seqOf(step.name) }
  }
  if (run.turnedBack || saga.status === 'Compensating' || saga.status === 'Compensated') {
    const code = saga.error?.code ?? ''
    const who = saga.error?.step ?? null
    const step = saga.steps.find(each => each.name === who)
    const refused = step?.status === 'Refused' || run.attempts.some(a => a.step === who && a.outcome === 'refused')
    const what = code === 'saga-timeout' ? 'It took longer than its timeout allows.'
      : who === null ? `${sentence(saga.error?.message ?? 'It was cancelled')}`
      : `${who} ${refused ? 'was refused' : 'failed'}: ${sentence(saga.error?.message || code)}`
    if (saga.status === 'Compensated') more.push('Everything is undone; nobody is needed.')
    else {
      more.push(...undone(saga, shapes), ...held(saga, shapes))
      if (trouble) more.push(`The ${trouble.phase === 'compensate' ? 'compensation' : trouble.phase ?? 'undoing'} of ${trouble.name} has failed ${times(trouble.failures)} (${trouble.error?.message ?? 'no answer'}) and is asked again; until it counts as stuck nobody is needed.`)
    }
    const quiet = saga.status === 'Compensated'
    return { tone: quiet ? 'undo' : 'fault', icon: quiet ? 'compensated' : refused ? 'refused' : 'error', what, then: 'The saga turned back before its commit point.', more, dueAt, seq: seqOf(who) }
  }
  if (failing.length > 0) {
    const step = failing[0]!
    return {
      tone: 'wait', icon: 'error', what: `${step.name} does not succeed: ${sentence(step.error?.message)}`, then: '', dueAt, seq: seqOf(step.name),
      more: [`Its ${step.phase ?? 'command'} was sent ${times(step.attempts)} and is asked again by itself; nobody is needed yet.`, ...(failing.length > 1 ? [`So with ${list(failing.slice(1).map(each => each.name))}.`] : [])],
    }
  }
  if (saga.paused) return { tone: 'none', icon: 'paused', what: 'Paused: nothing new is sent.', then: 'It waits for somebody to resume it.', more: held(saga, shapes), dueAt: null, seq: null }
  return null
}

/** Compensated 2 of 3, said of what has to be undone at all. */
export function progress(saga: Saga): string {
  const undo = saga.steps.filter(step => ['Cancelling', 'Cancelled', 'Compensating', 'Compensated'].includes(step.status))
  const settle = saga.steps.filter(step => step.status === 'Confirming' || step.status === 'Confirmed')
  if (saga.status === 'Compensating') return `Compensating, ${undo.filter(step => step.finishedAt !== null && /ed$/.test(step.status)).length} of ${undo.length + open(saga)} undone`
  if (saga.status === 'Confirming' && settle.length > 0) return `Confirming, ${settle.filter(step => step.status === 'Confirmed').length} of ${settle.length}`
  return saga.status
}

const open = (saga: Saga) => saga.steps.filter(step => step.status === 'Tried').length

function undone(saga: Saga, shapes: readonly Shape[]): string[] {
  const undoable = new Set(shapes.filter(shape => shape.second !== null).map(shape => shape.name))
  const must = saga.steps.filter(step => ['Cancelling', 'Compensating', 'Cancelled', 'Compensated', 'Tried'].includes(step.status) || (step.status === 'Done' && undoable.has(step.name)))
  const done = must.filter(step => step.status === 'Cancelled' || step.status === 'Compensated')
  return saga.committedAt === null && must.length > 0 && saga.status !== 'Running' ? [`${done.length} of ${must.length} step${must.length === 1 ? '' : 's'} ${must.length === 1 ? 'is' : 'are'} undone.`] : []
}

function held(saga: Saga, shapes: readonly Shape[]): string[] {
  const tcc = new Set(shapes.filter(shape => shape.second === 'tcc').map(shape => shape.name))
  const still = saga.steps.filter(step => tcc.has(step.name) && ['Tried', 'Cancelling', 'Confirming'].includes(step.status) && step.result !== null)
  return still.length === 0 ? [] : [`${list(still.map(step => step.name))} still hold${still.length === 1 ? 's' : ''} what ${still.length === 1 ? 'its try' : 'their tries'} reserved.`]
}

const times = (n: number) => (n === 1 ? 'once' : n === 2 ? 'twice' : `${n} times`)
const list = (names: string[]) => (names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`)
const sentence = (text: string | undefined) => (!text ? '' : /[.!?]$/.test(text) ? text : `${text}.`)
const said = (text: string | undefined) => sentence(text)
