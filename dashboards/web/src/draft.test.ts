import { expect, test } from 'vitest'
import { draftOf, withVersion } from './draft'

test('a text is read as far as it goes, each step after those that it comes after', () => {
  const { draft } = draftOf('{"name":"t","version":2,"steps":[{"name":"in","after":["out"],"pivot":true,"step":{"do":"bus:bank/in"}},{"name":"out","tcc":{"try":"http://a/t"}},{"nothing":1}]}')
  expect(draft!.steps.map(step => [step.name, step.kind, step.after, step.participant])).toEqual([['out', 'tcc', [], undefined], ['in', 'do', ['out'], 'bank']])
  expect([draft!.name, draft!.version, draft!.pivot]).toEqual(['t', 2, 'in'])
  expect(draftOf('{"steps":[{"name":"a","after":["b"]},{"name":"b","after":["a"]}]}').draft!.steps.map(step => step.name)).toEqual(['b', 'a'])
})

test('what is no JSON object is said with its place', () => {
  expect(draftOf('  ')).toEqual({ draft: null, fault: null })
  expect(draftOf('[1]').fault!.message).toContain('A definition is a JSON object')
  expect(draftOf('{"a": x}').fault).toEqual({ message: "Unexpected token 'x'", at: 6 })
  expect(draftOf('{"a": [1, "b\\n", {}],\n "c" 2}').fault!.at).toBe(27)
  expect(draftOf('{"a": 1').fault!.at).toBe(7)
})

test('a version is changed in place', () => {
  expect(withVersion('{ "name": "t", "version": 1,\n  "steps": [{"version": 1}] }', 3)).toBe('{ "name": "t", "version": 3,\n  "steps": [{"version": 1}] }')
  expect(JSON.parse(withVersion('{"steps":[{"version":1}]}', 2))).toEqual({ steps: [{ version: 1 }], version: 2 })
})
