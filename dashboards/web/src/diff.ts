// Two versions of a definition held against each other: what changed, step by step, and line by line.

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
export interface Change { step: string | null; path: string; before: string | null; after: string | null }
export interface Difference { added: string[]; removed: string[]; changed: string[]; changes: Change[] }

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)
const told = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value))

/** Every leaf under its dotted path; a list is one leaf. */
function leaves(value: unknown, path: string, into: Map<string, string>) {
  if (isObject(value)) for (const [key, part] of Object.entries(value)) leaves(part, path === '' ? key : `${path}.${key}`, into)
  else if (value !== undefined) into.set(path, told(value))
}

function held(step: string | null, before: Record<string, unknown>, after: Record<string, unknown>): Change[] {
  const [one, two] = [new Map<string, string>(), new Map<string, string>()]
  leaves(before, '', one)
  leaves(after, '', two)
  return [...new Set([...one.keys(), ...two.keys()])].filter(path => one.get(path) !== two.get(path)).map(path => ({ step, path, before: one.get(path) ?? null, after: two.get(path) ?? null }))
}

const stepsOf = (definition: Record<string, unknown>) =>
  new Map((Array.isArray(definition['steps']) ? definition['steps'] as unknown[] : []).filter(isObject).map(step => [String(step['name']), step]))

/** What is different in `after`. Steps are known by their names; where one stands in the list says nothing. The version itself is no difference. */
export function compare(before: unknown, after: unknown): Difference {
  const [one, two] = [isObject(before) ? before : {}, isObject(after) ? after : {}]
  const [old, now] = [stepsOf(one), stepsOf(two)]
  const rest = ({ steps: _, version: __, ...others }: Record<string, unknown>) => others
  const whole = held(null, rest(one), rest(two))
  const inSteps = [...now].flatMap(([name, step]) => (old.has(name) ? held(name, old.get(name)!, step) : []))
  return {
    added: [...now.keys()].filter(name => !old.has(name)), removed: [...old.keys()].filter(name => !now.has(name)),
    changed: [...new Set(inSteps.map(change => change.step!))], changes: [...whole, ...inSteps],
  }
}

export interface Line { left: string | null; right: string | null; leftNo: number | null; rightNo: number | null; same: boolean }

/** Two texts side by side: lines that both have stand beside each other, what only one has stands beside nothing or beside what took its place. */
export function sideBySide(before: string, after: string): Line[] {
  const [a, b] = [before.split('\n'), after.split('\n')]
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let end = 0
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++
  const lines: Line[] = []
  const same = (i: number, j: number) => lines.push({ left: a[i]!, right: b[j]!, leftNo: i + 1, rightNo: j + 1, same: true })
  const differ = (gone: number[], come: number[]) => {
    for (let k = 0; k < Math.max(gone.length, come.length); k++) {
      const [i, j] = [gone[k], come[k]]
      lines.push({ left: i === undefined ? null : a[i]!, right: j === undefined ? null : b[j]!, leftNo: i === undefined ? null : i + 1, rightNo: j === undefined ? null : j + 1, same: false })
    }
  }
  for (let i = 0; i < start; i++) same(i, i)
  let [gone, come]: [number[], number[]] = [[], []]
  for (const [i, j] of matched(a.slice(start, a.length - end), b.slice(start, b.length - end))) {
    if (i !== null && j !== null) {
      differ(gone, come)
      ;[gone, come] = [[], []]
      same(start + i, start + j)
    } else if (i !== null) gone.push(start + i)
    else come.push(start + j!)
  }
  differ(gone, come)
  for (let k = end; k > 0; k--) same(a.length - k, b.length - k)
  return lines
}

/** The longest common run of lines; beyond some million pairs everything counts as replaced, which is true and quick. */
function matched(a: readonly string[], b: readonly string[]): [number | null, number | null][] {
  const pairs: [number | null, number | null][] = []
  if (a.length * b.length > 4_000_000) return [...a.map((_, i): [number, null] => [i, null]), ...b.map((_, j): [null, number] => [null, j])]
  const width = b.length + 1
  const longest = new Uint32Array((a.length + 1) * width)
  for (let i = a.length - 1; i >= 0; i--) for (let j = b.length - 1; j >= 0; j--)
    longest[i * width + j] = a[i] === b[j] ? longest[(i + 1) * width + j + 1]! + 1 : Math.max(longest[(i + 1) * width + j]!, longest[i * width + j + 1]!)
  let [i, j] = [0, 0]
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) pairs.push([i++, j++])
    else if (longest[(i + 1) * width + j]! >= longest[i * width + j + 1]!) pairs.push([i++, null])
    else pairs.push([null, j++])
  }
  while (i < a.length) pairs.push([i++, null])
  while (j < b.length) pairs.push([null, j++])
  return pairs
}

// ---------- where in a text something stands

/** From where to where the value at a path stands, as `$.steps[1].do` and `$.steps['out']` say it; of a path that is not there, what is left of it. */
export function locate(text: string, path: string): [number, number] {
  const wanted = [...path.matchAll(/\.([A-Za-z0-9_-]+)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]/g)].map(([, name, index, quoted]) => (index === undefined ? (name ?? quoted)! : Number(index)))
  let at = 0
  let best: [number, number] = [0, 0]
  const space = () => { while (/\s/.test(text[at] ?? '')) at++ }
  const word = (): string => {
    const from = at
    at++
    while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1
    at++
    try { return JSON.parse(text.slice(from, at)) as string } catch { return '' }
  }
  /** Reads a value; `depth` parts of the path lead to it, or -1 when it lies beside the way. */
  const value = (depth: number) => {
    space()
    const from = at
    const next = depth >= 0 ? wanted[depth] : undefined
    if (text[at] === '{' || text[at] === '[') {
      const list = text[at] === '['
      at++
      for (let i = 0; ; i++) {
        space()
        if (at >= text.length || text[at] === '}' || text[at] === ']') { at++; break }
        let key: string | number = i
        if (!list) { key = word(); space(); at++ }
        space()
        // A step may be called by its name.
        const named = list && typeof next === 'string' && new RegExp(`^\\{\\s*"name"\\s*:\\s*${escaped(JSON.stringify(next))}`).test(text.slice(at))
        value(depth >= 0 && (key === next || named) ? depth + 1 : -1)
        space()
        if (text[at] === ',') at++
        else if (text[at] !== '}' && text[at] !== ']') at = text.length
      }
    } else if (text[at] === '"') word()
    else while (at < text.length && !/[\s,}\]]/.test(text[at]!)) at++
    if (depth > found) { found = depth; best = [from, Math.min(at, text.length)] }
  }
  let found = -1
  value(0)
  return best
}

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
export const lineOf = (text: string, at: number) => text.slice(0, at).split('\n').length
