import { expect, test } from 'vitest'
import type { DefinitionStep, HistoryEntry } from './api'
import { lanes, shapes, tell } from './run'

let seq = 0
const at = (event: string, change: Partial<HistoryEntry> = {}): HistoryEntry => ({ seq: ++seq, time: new Date(1000 * seq).toISOString(), event, step: null, phase: null, attempt: null, outcome: null, detail: null, by: null, reason: null, ...change } as HistoryEntry)
const sent = (step: string, phase: string, attempt = 1) => at('sent', { step, phase, attempt } as Partial<HistoryEntry>)
const replied = (step: string, phase: string, outcome: string, attempt = 1, detail: string | null = null) => at('replied', { step, phase, attempt, outcome, detail } as Partial<HistoryEntry>)

function refusedTrip(): HistoryEntry[] {
  seq = 0
  return [
    at('started'), sent('seat', 'try'), sent('room', 'try'), replied('room', 'try', 'refused', 1, 'sold out'), at('turned-back', { step: 'room', detail: 'sold-out: sold out' }),
    sent('seat', 'cancel'), replied('seat', 'try', 'ok', 1, 'late'), replied('seat', 'cancel', 'error'), sent('seat', 'cancel', 2), replied('seat', 'cancel', 'ok', 2), at('compensated'),
  ]
}

test('a refusal, a late answer and a repeated cancel are told to the end', () => {
  const run = tell(refusedTrip())
  expect(run.status).toBe('Compensated')
  expect(run.turnedBack).toMatchObject({ step: 'room', seq: 5 })
  expect(run.steps.get('room')!.status).toBe('Refused')
  expect(run.steps.get('seat')!.status).toBe('Cancelled')
  expect(run.steps.get('seat')!.first).toMatchObject([{ outcome: 'ok', n: 1 }])
  expect(run.steps.get('seat')!.second).toMatchObject([{ outcome: 'error', n: 1 }, { outcome: 'ok', n: 2 }])
})

test('a replay stands where it is stopped', () => {
  expect(tell(refusedTrip(), 3)).toMatchObject({ status: 'Running', turnedBack: null, seq: 3 })
  expect(tell(refusedTrip(), 3).steps.get('seat')!.status).toBe('Trying')
  expect(tell(refusedTrip(), 6)).toMatchObject({ status: 'Compensating' })
  expect(tell(refusedTrip(), 6).steps.get('seat')!.status).toBe('Cancelling')
})

test('stuck lasts until the phase succeeds', () => {
  seq = 0
  const told = [at('started'), sent('seat', 'try'), replied('seat', 'try', 'ok'), at('committed'), sent('seat', 'confirm'), replied('seat', 'confirm', 'error'), at('stuck', { step: 'seat', phase: 'confirm', attempt: 1 }), sent('seat', 'confirm', 2), replied('seat', 'confirm', 'ok', 2), at('completed')]
  expect(tell(told, 7)).toMatchObject({ status: 'Stuck' })
  expect(tell(told, 9)).toMatchObject({ status: 'Confirming' })
  expect(tell(told)).toMatchObject({ status: 'Completed' })
})

test('an attempt without an answer is lost, not refused', () => {
  seq = 0
  const run = tell([at('started'), sent('pay', 'do'), at('timed-out', { step: 'pay', phase: 'do', attempt: 1 }), sent('pay', 'do', 2)])
  expect(run.attempts).toMatchObject([{ outcome: 'lost' }, { outcome: 'open', endAt: null }])
  expect(run.steps.get('pay')!.status).toBe('Doing')
})

test('ten thousand entries are told in no time', () => {
  seq = 0
  const long = [at('started'), ...Array.from({ length: 5000 }, (_, i) => [sent('seat', 'cancel', i + 1), replied('seat', 'cancel', 'error', i + 1)]).flat()]
  const start = performance.now()
  expect(tell(long).attempts).toHaveLength(5000)
  expect(performance.now() - start).toBeLessThan(500)
})

const step = (name: string, after: string[], more: Partial<DefinitionStep> = {}): DefinitionStep => ({ name, kind: 'do', after, pivot: false, readOnly: false, ...more } as DefinitionStep)

test('what comes after the pivot stands behind the commit line', () => {
  const drawn = shapes([step('seat', [], { kind: 'tcc', try: 'bus:seats/reserve' }), step('pay', ['seat'], { pivot: true }), step('mail', ['pay']), step('stats', ['mail'])], 'pay')
  expect(drawn.map(shape => [shape.name, shape.afterCommit, shape.depth])).toEqual([['seat', false, 0], ['pay', false, 1], ['mail', true, 2], ['stats', true, 3]])
})

test('colour is a claim: held is blue, kept is green, undone is orange, and what is settled goes quiet', () => {
  const [seat] = shapes([step('seat', [], { kind: 'tcc', try: 'bus:seats/reserve' })], null)
  const look = (status: Parameters<typeof lanes>[1], more = {}) => lanes(seat!, status, { committed: false, stuck: false, heard: true, ...more }).map(lane => `${lane?.tone} ${lane?.state}`)
  expect(look('Tried')).toEqual(['try held', 'none idle'])
  expect(look('Confirmed', { committed: true })).toEqual(['none past', 'keep ok'])
  expect(look('Cancelled')).toEqual(['none past', 'undo ok'])
  expect(look('Cancelling', { stuck: true })).toEqual(['try held', 'fault no'])
  expect(look('Cancelling', { heard: false })).toEqual(['fault no', 'undo run'])
  expect(look('Refused')).toEqual(['fault no', 'none idle'])
})
