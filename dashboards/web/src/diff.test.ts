import { expect, test } from 'vitest'
import { compare, lineOf, locate, sideBySide } from './diff'

const one = { name: 'transfer', version: 1, timeout: 'PT5M', steps: [{ name: 'out', tcc: { try: 'http://a/try' }, timeout: 'PT1S' }, { name: 'in', after: ['out'], step: { do: 'http://b/in' } }] }

test('a difference is told by step and field, wherever a step stands in the list', () => {
  const two = { ...one, version: 2, timeout: 'PT1M', steps: [{ name: 'in', after: ['ask'], step: { do: 'http://b/in' } }, { name: 'ask', step: { do: 'http://c' } }] }
  expect(compare(one, two)).toEqual({
    added: ['ask'], removed: ['out'], changed: ['in'],
    changes: [{ step: null, path: 'timeout', before: 'PT5M', after: 'PT1M' }, { step: 'in', path: 'after', before: '["out"]', after: '["ask"]' }],
  })
  expect(compare(one, { ...one, version: 7, steps: one.steps.toReversed() })).toEqual({ added: [], removed: [], changed: [], changes: [] })
  expect(compare(one, { ...one, steps: [{ ...one.steps[0], retry: { attempts: 3 } }, one.steps[1]] }).changes).toEqual([{ step: 'out', path: 'retry.attempts', before: null, after: '3' }])
})

test('what both have stands beside each other', () => {
  const lines = sideBySide('a\nb\nc\nd', 'a\nx\nc\ny\nd').map(line => `${line.left ?? '·'}${line.same ? '=' : '|'}${line.right ?? '·'}`)
  expect(lines).toEqual(['a=a', 'b|x', 'c=c', '·|y', 'd=d'])
  expect(sideBySide('a', 'a')).toEqual([{ left: 'a', right: 'a', leftNo: 1, rightNo: 1, same: true }])
  expect(sideBySide('a\nb', 'b').map(line => line.same)).toEqual([false, true])
})

test('a fault is found where its path leads, or where that path breaks off', () => {
  const text = JSON.stringify(one, null, 2)
  const at = (path: string) => { const [from, to] = locate(text, path); return text.slice(from, to) }
  expect(at('$.name')).toBe('"transfer"')
  expect(at('$.steps[1].after[0]')).toBe('"out"')
  expect(at('$.steps[1].step.compensate')).toContain('"do": "http://b/in"')
  expect(at("$.steps['in'].step.do")).toBe('"http://b/in"')
  expect(at('$')).toBe(text)
  expect(lineOf(text, locate(text, '$.steps[1].name')[0])).toBe(14)
  expect(locate('{"a": [1, ', '$.a[1]')[0]).toBe(6)
})
