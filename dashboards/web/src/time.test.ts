import { expect, test } from 'vitest'
import { count, duration, exact, isoDuration, moment } from './time'
import { parse, to } from './route'

test.each([[0, '0 ms'], [118, '118 ms'], [2410, '2.41 s'], [31_000, '31.0 s'], [485_000, '8 m 5 s'], [4_260_000, '1 h 11 m'], [273_600_000, '3 d 4 h']])('%i ms reads %s', (ms, text) => expect(duration(ms)).toBe(text))
test.each([[5000, '5 s'], [200, '200 ms'], [2500, '2.5 s'], [30_000, '30 s'], [300_000, '5 m']])('configured, %i ms reads %s', (ms, text) => expect(exact(ms)).toBe(text))
test.each([['PT0.2S', 200], ['PT5M', 300_000], ['P1DT2H', 93_600_000], ['soon', null], [null, null]])('%s is %s ms', (text, ms) => expect(isoDuration(text)).toBe(ms))
test.each([[311, '311'], [9999, '9,999'], [18_231, '18.2k'], [1_204_000, '1.2M']])('%i reads %s', (n, text) => expect(count(n)).toBe(text))

test('a moment reads as the reader likes', () => {
  const at = Date.parse('2026-03-01T14:32:07.204Z')
  expect(moment(at, 'utc', at)).toBe('14:32:07Z')
  expect(moment(at, 'utc', at, true)).toBe('14:32:07.204Z')
  expect(moment(at, 'utc', at + 86_400_000)).toBe('03-01 14:32:07Z')
  expect(moment(at, 'relative', at + 31_000)).toBe('31 s ago')
  expect(moment(at + 20_000, 'relative', at)).toBe('in 20 s')
})

test('every id has a link that leads back to it', () => {
  const id = 'order:A-1.x_y'
  expect(parse(to(['sagas', id], { step: 'a b', at: '3' }))).toMatchObject({ path: ['sagas', id] })
  expect(parse(to(['sagas', id], { step: 'a b' })).query.get('step')).toBe('a b')
  expect(parse('#/sagas/%E0%A4%A')).toMatchObject({ path: ['sagas', '%E0%A4%A'] })
})
