import { expect, test } from 'vitest'
import { axis } from './fold'

const busy = (...pairs: [number, number][]) => pairs.map(([from, to]) => ({ from, to }))

test('time never runs backwards on the axis, and it begins at the left and ends at the right', () => {
  const line = axis(busy([0, 100], [5000, 5050], [5040, 9000]), 0, 20_000, [0, 100, 5000], true)
  let last = -1
  for (let t = -100; t <= 21_000; t += 37) { expect(line.x(t)).toBeGreaterThanOrEqual(last); last = line.x(t) }
  expect(line.x(0)).toBe(0)
  expect(line.x(20_000)).toBe(100)
})

test('a long idle stretch becomes a narrow band that says how long it was', () => {
  const line = axis(busy([0, 100], [10_000, 10_100]), 0, 10_100, [], true)
  expect(line.folds).toHaveLength(1)
  expect(line.folds[0]).toMatchObject({ from: 100, to: 10_000 })
  expect(line.folds[0]!.width).toBeLessThan(5)
  expect(line.idleMs).toBe(9900)
})

test('unfolded, the axis is nearly to scale', () => {
  const line = axis(busy([0, 100], [10_000, 10_100]), 0, 10_100, [], false)
  expect(line.folds).toEqual([])
  expect(line.x(10_000) - line.x(100)).toBeGreaterThan(85)
})

test('attempts that took no time at all can still be seen', () => {
  const line = axis(busy([0, 0], [0, 1], [1, 1]), 0, 1, [0, 1], true)
  expect(line.x(1) - line.x(0)).toBe(100)
})

test('an idle stretch that is short beside the work is left as it is', () => expect(axis(busy([0, 1000], [1020, 2000]), 0, 2000, [], true).folds).toEqual([]))

test('one answer that took very long does not hide the others', () => {
  const line = axis(busy([0, 2030], [2030, 2031], [2031, 2040]), 0, 2040, [0, 2030, 2031, 2040], true)
  expect(line.folds).toHaveLength(1)
  expect(line.x(2040) - line.x(2030)).toBeGreaterThan(50)
})

test('a thousand attempts, each folded from the next, fit and stay in order', () => {
  const pairs = Array.from({ length: 1000 }, (_, i): [number, number] => [i * 30_000, i * 30_000 + 5])
  const line = axis(busy(...pairs), 0, 30_000_000, [], true)
  expect(line.folds).toHaveLength(1000)
  expect(line.folds.reduce((sum, fold) => sum + fold.width, 0)).toBeLessThanOrEqual(40.001)
  expect(line.x(pairs[999]![0])).toBeGreaterThan(line.x(pairs[998]![1]))
})
