// A definition in JSON as somebody writes it: read as far as it goes, so that its graph is seen before the server is asked.
import type { DefinitionStep } from './api'

export interface Draft { name: string; version: number; steps: DefinitionStep[]; pivot: string | null; value: unknown }

/** What a text says, or why it is no JSON object and where. Everything else is the server's to judge. */
export function draftOf(text: string): { draft: Draft; fault: null } | { draft: null; fault: { message: string; at: number } | null } {
  if (text.trim() === '') return { draft: null, fault: null }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return { draft: null, fault: { message: message.replace(/,? (?:\.{0,3}"[^]*" is not valid JSON|in JSON at position \d+.*)$/, ''), at: brokenAt(text) } }
  }
  if (!isObject(value)) return { draft: null, fault: { message: 'A definition is a JSON object: { "name": …, "version": …, "steps": […] }', at: 0 } }
  const steps = inOrder((Array.isArray(value['steps']) ? value['steps'] as unknown[] : []).filter(isObject).filter(step => typeof step['name'] === 'string').map(stepOf))
  return {
    draft: { name: typeof value['name'] === 'string' ? value['name'] : '', version: Number.isInteger(value['version']) ? value['version'] as number : 0, steps, pivot: steps.find(step => step.pivot)?.name ?? null, value },
    fault: null,
  }
}

/** The same text under another version; what else it says stays as it was written. */
export function withVersion(text: string, version: number): string {
  const at = /^(\s*\{(?:[^{}[\]"]|"(?:[^"\\]|\\.)*")*?"version"\s*:\s*)\d+/.exec(text)
  if (at) return at[1]! + version + text.slice(at[0].length)
  try { return JSON.stringify({ ...JSON.parse(text) as object, version }, null, 2) } catch { return text }
}

/** Where a text stops being JSON. Browsers say it in words of their own, or not at all. */
function brokenAt(text: string): number {
  let at = 0
  const space = () => { while (/[ \t\r\n]/.test(text[at] ?? '')) at++ }
  const take = (pattern: RegExp) => { pattern.lastIndex = at; const found = pattern.exec(text)?.[0]; at += found?.length ?? 0; return found !== undefined }
  const string = () => take(/"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y)
  const list = (end: string, item: () => boolean): boolean => {
    at++
    space()
    if (text[at] === end) { at++; return true }
    for (;;) {
      space()
      if (!item()) return false
      space()
      if (text[at] === end) { at++; return true }
      if (text[at] !== ',') return false
      at++
    }
  }
  const value = (): boolean => {
    space()
    if (text[at] === '{') return list('}', () => { if (!string()) return false; space(); if (text[at] !== ':') return false; at++; return value() })
    if (text[at] === '[') return list(']', value)
    return string() || take(/true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y)
  }
  value()
  space()
  return at
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)
const text = (value: unknown) => (typeof value === 'string' ? value : undefined)

function stepOf(step: Record<string, unknown>): DefinitionStep {
  const [tcc, plain] = [isObject(step['tcc']) ? step['tcc'] : null, isObject(step['step']) ? step['step'] : null]
  const kind = step['forEach'] !== undefined ? 'foreach' : tcc ? 'tcc' : step['wait'] !== undefined ? 'wait' : step['delay'] !== undefined ? 'delay' : step['child'] !== undefined ? 'child' : 'do'
  const calls = { try: text(tcc?.['try']), confirm: text(tcc?.['confirm']), cancel: text(tcc?.['cancel']), do: text(plain?.['do']), compensate: text(plain?.['compensate']), check: text((tcc ?? plain)?.['check']) }
  const first = calls.try ?? calls.do
  return {
    name: step['name'] as string, kind, after: Array.isArray(step['after']) ? (step['after'] as unknown[]).filter(each => typeof each === 'string') : [],
    pivot: step['pivot'] === true, readOnly: step['readOnly'] === true, ...Object.fromEntries(Object.entries(calls).filter(([, call]) => call !== undefined)),
    ...(first?.startsWith('bus:') ? { participant: first.slice(4).split('/')[0]! } : {}),
  }
}

/** Each after those that it comes after, as far as that goes: a circle stays in the order in which it was written. */
function inOrder(steps: DefinitionStep[]): DefinitionStep[] {
  const byName = new Map(steps.map(step => [step.name, step]))
  const seen = new Set<string>()
  const order: DefinitionStep[] = []
  const visit = (step: DefinitionStep) => {
    if (seen.has(step.name)) return
    seen.add(step.name)
    for (const before of step.after) { const found = byName.get(before); if (found) visit(found) }
    order.push(step)
  }
  steps.forEach(visit)
  return order
}
