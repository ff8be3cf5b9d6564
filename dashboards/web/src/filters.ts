// What the list is narrowed to: from the URL, to the URL, to the API, and to words.
import type { SagaStatus, Summary } from './api'

export const statuses = ['Running', 'Confirming', 'Compensating', 'Stuck', 'Completed', 'Compensated', 'Terminated'] as const satisfies readonly SagaStatus[]
export const isEnded = (status: SagaStatus) => status === 'Completed' || status === 'Compensated' || status === 'Terminated'

export interface Filters {
  status: SagaStatus[]
  definition: string | null
  tag: string[]
  step: string | null
  /** The code of an error that an unfinished saga has; with a step, that this step has. */
  error: string | null
  q: string | null
  /** Hours back from now, as 1h, 24h, 7d: a link keeps meaning "the last hour". */
  since: string | null
  startedAfter: string | null
  startedBefore: string | null
}

export const none: Filters = { status: [], definition: null, tag: [], step: null, error: null, q: null, since: null, startedAfter: null, startedBefore: null }
export const spans = ['15m', '1h', '24h', '7d'] as const

export function fromQuery(query: URLSearchParams): Filters {
  const one = (name: string) => query.get(name)?.trim() || null
  const time = (name: string) => { const text = one(name); return text !== null && !Number.isNaN(Date.parse(text)) ? text : null }
  const since = one('since')
  return {
    status: statuses.filter(status => query.getAll('status').flatMap(text => text.split(',')).some(word => word.toLowerCase() === status.toLowerCase())),
    definition: one('definition'),
    tag: [...new Set(query.getAll('tag').filter(tag => tag.indexOf(':') > 0))],
    step: one('step'),
    error: one('error'),
    q: one('q'),
    since: since !== null && spanMs(since) !== null ? since : null,
    startedAfter: time('startedAfter'),
    startedBefore: time('startedBefore'),
  }
}

/** Back again. `keep` are names of the query that are none of the filters'. */
export function toQuery(filters: Filters, keep?: URLSearchParams): URLSearchParams {
  const query = new URLSearchParams()
  if (filters.status.length > 0) query.set('status', filters.status.join(','))
  for (const name of ['definition', 'step', 'error', 'q', 'since', 'startedAfter', 'startedBefore'] as const) {
    const value = filters[name]
    if (value !== null) query.set(name, value)
  }
  for (const tag of filters.tag) query.append('tag', tag)
  keep?.forEach((value, name) => { if (!(name in none)) query.append(name, value) })
  return query
}

export function spanMs(since: string): number | null {
  const match = /^(\d{1,4})([mhd])$/.exec(since)
  return match ? Number(match[1]) * { m: 60_000, h: 3_600_000, d: 86_400_000 }[match[2] as 'm' | 'h' | 'd'] : null
}

/** As the API wants it. */
export function toApi(filters: Filters, now: number) {
  const span = filters.since === null ? null : spanMs(filters.since)
  // To the quarter minute, so that the same view asks the same question.
  const after = span === null ? filters.startedAfter : new Date(Math.floor((now - span) / 15_000) * 15_000).toISOString()
  return {
    ...(filters.status.length > 0 ? { status: filters.status } : {}),
    ...(filters.tag.length > 0 ? { tag: filters.tag } : {}),
    ...(filters.definition === null ? {} : { definition: filters.definition }),
    ...(filters.step === null ? {} : { step: filters.step }),
    ...(filters.error === null ? {} : { error: filters.error }),
    ...(filters.q === null ? {} : { q: filters.q }),
    ...(after === null ? {} : { startedAfter: after }),
    ...(filters.startedBefore === null ? {} : { startedBefore: filters.startedBefore }),
  }
}

/** Whether a saga that was heard of belongs to the view: the API's rules, for rows that come by the feed. */
export function matches(filters: Filters, saga: Summary, now: number): boolean {
  const { q } = filters
  const started = Date.parse(saga.startedAt)
  const span = filters.since === null ? null : spanMs(filters.since)
  return (filters.status.length === 0 || filters.status.includes(saga.status))
    && (filters.definition === null || filters.definition === saga.definition)
    && (filters.step === null || filters.step === saga.step)
    && (filters.error === null || (saga.finishedAt === null && (filters.error === saga.stepError?.code || (filters.step === null && filters.error === saga.error?.code))))
    && filters.tag.every(tag => { const at = tag.indexOf(':'); return saga.tags[tag.slice(0, at)] === tag.slice(at + 1) })
    && (q === null || saga.id.startsWith(q) || Object.values(saga.tags).includes(q))
    && (span === null || started >= now - span)
    && (filters.startedAfter === null || span !== null || started >= Date.parse(filters.startedAfter))
    && (filters.startedBefore === null || started < Date.parse(filters.startedBefore))
}

export const isNone = (filters: Filters) => toQuery(filters).size === 0
