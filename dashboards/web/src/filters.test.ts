import { expect, test } from 'vitest'
import type { Summary } from './api'
import { fromQuery, isNone, matches, none, spanMs, toApi, toQuery } from './filters'

const saga = (change: Partial<Summary>): Summary => ({
  id: 'trip-1', definition: 'book-trip', version: 1, status: 'Running', paused: false, mixed: false, priority: 5, startedAt: '2026-01-01T12:00:00.000Z', updatedAt: '2026-01-01T12:00:00.000Z',
  committedAt: null, finishedAt: null, traceId: null, tags: { tenant: 'acme' }, error: null, waitingFor: null, committed: false, phase: 'try', stepError: null, step: 'reserve-room', attempts: 1, nextAttemptAt: null, steps: [], ...change,
} as Summary)
const noon = Date.parse('2026-01-01T12:00:00Z')

test('what a link says comes back as it was', () => {
  const filters = { ...none, status: ['Stuck', 'Completed'] as const, definition: 'book-trip', tag: ['tenant:acme', 'order:A-1'], q: 'trip', step: 'reserve-room', since: '24h' }
  const back = fromQuery(new URLSearchParams(toQuery({ ...filters, status: [...filters.status] }).toString()))
  expect(back).toEqual({ ...filters, status: ['Stuck', 'Completed'] })
})

test('nothing chosen leaves the link empty', () => {
  expect(toQuery(none).toString()).toBe('')
  expect(isNone(fromQuery(new URLSearchParams('?cursor=abc')))).toBe(true)
})

test('what a link says wrongly is left out, and case does not matter', () => {
  const filters = fromQuery(new URLSearchParams('status=stuck,nonsense&tag=novalue&since=soon&startedAfter=yesterday'))
  expect(filters).toEqual({ ...none, status: ['Stuck'] })
})

test('other names in the link stay', () => expect(toQuery({ ...none, q: 'x' }, new URLSearchParams('limit=100&q=old')).toString()).toBe('q=x&limit=100'))

test('"the last hour" goes with the clock, and asks the same question within a quarter minute', () => {
  const filters = { ...none, since: '1h' }
  expect(toApi(filters, noon).startedAfter).toBe('2026-01-01T11:00:00.000Z')
  expect(toApi(filters, noon + 14_000).startedAfter).toBe(toApi(filters, noon).startedAfter)
  expect(toApi(filters, noon + 15_000).startedAfter).not.toBe(toApi(filters, noon).startedAfter)
})

test.each([['15m', 900_000], ['24h', 86_400_000], ['7d', 604_800_000], ['1w', null], ['h', null]])('%s is %s milliseconds', (span, ms) => expect(spanMs(span)).toBe(ms))

test('a saga that the feed tells of is held against the same filter as the server would', () => {
  expect(matches(none, saga({}), noon)).toBe(true)
  expect(matches({ ...none, status: ['Stuck'] }, saga({}), noon)).toBe(false)
  expect(matches({ ...none, q: 'trip' }, saga({}), noon)).toBe(true)
  expect(matches({ ...none, q: 'rip' }, saga({}), noon)).toBe(false)
  expect(matches({ ...none, q: 'acme' }, saga({}), noon)).toBe(true)
  expect(matches({ ...none, tag: ['tenant:acme'] }, saga({}), noon)).toBe(true)
  expect(matches({ ...none, tag: ['tenant:globex'] }, saga({}), noon)).toBe(false)
  expect(matches({ ...none, step: 'capture' }, saga({}), noon)).toBe(false)
  expect(matches({ ...none, since: '1h' }, saga({ startedAt: '2026-01-01T10:00:00Z' }), noon)).toBe(false)
  expect(matches({ ...none, startedBefore: '2026-01-01T12:00:00Z' }, saga({}), noon)).toBe(false)
})
