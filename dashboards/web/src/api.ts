// The REST API, typed by its OpenAPI document (npm run generate). Everything else asks through here.
import createClient, { type Middleware } from 'openapi-fetch'
import type { components, paths } from './api.gen'
import { heardServerTime } from './time'
import { operator } from './prefs'

type Schemas = components['schemas']
export type Saga = Schemas['Saga']
export type SagaStep = Saga['steps'][number]
export type Summary = Schemas['SagaSummary']
export type SagaStatus = Saga['status']
export type StepStatus = SagaStep['status']
export type HistoryEntry = Schemas['HistoryEntry']
export type Definition = Schemas['Definition']
export type Letters = Schemas['DeadLetters']
export type Operation = Schemas['Operation']
export type AuditEntry = Schemas['AuditEntry']
export type AuditPage = Schemas['AuditPage']
/** A step as far as it is known: of a definition that is no longer loaded only the graph is left. */
export type DefinitionStep = Partial<Schemas['DefinitionStep']> & Pick<Schemas['DefinitionStep'], 'name' | 'kind' | 'after' | 'pivot' | 'readOnly'>
export type Stats = Schemas['Stats']
export type FailureGroup = Schemas['FailureGroup']
export type Verification = Schemas['Verification']
export type WaitingStep = Schemas['WaitingStep']
export type Problem = Schemas['Problem']

/** The directory that the page was served from: the API stands beside it, under any path base. */
export const root = typeof document === 'undefined' ? 'http://localhost' : new URL('.', document.baseURI).href.replace(/\/$/, '')

/** What the server says when it says no. `detail` is written for people and is shown as it is. */
export class ApiError extends Error {
  readonly status: number
  readonly problem: Problem | null

  /** Status 0: no answer at all. */
  constructor(status: number, problem: Problem | null, message: string) {
    super(message)
    this.name = 'ApiError'
    this.status = status
    this.problem = problem
  }

  /** The server is older than this page: it has no such call. */
  get unknownCall() {
    return this.status === 405 || (this.status === 404 && (this.problem === null || this.problem.type === 'urn:sagas:unknown-route'))
  }
}

const middleware: Middleware = {
  onRequest({ request }) {
    const name = operator()
    if (name && request.method !== 'GET') request.headers.set('X-Operator', name)
    return request
  },
  onResponse({ response }) {
    heardServerTime(response.headers.get('Date'))
  },
}

export const api = createClient<paths>({ baseUrl: root })
api.use(middleware)

interface Answer<T> { data?: T; error?: unknown; response: Response }

/** The answer's body, or an ApiError that says what the server said. */
export async function ask<T>(call: Promise<Answer<T>>): Promise<NonNullable<T>> {
  let answer: Answer<T>
  try {
    answer = await call
  } catch (fault) {
    if (fault instanceof DOMException && fault.name === 'AbortError') throw fault
    throw new ApiError(0, null, 'The server does not answer. It is tried again.')
  }
  if (answer.data !== undefined && answer.data !== null && answer.response.ok) return answer.data
  const problem = isProblem(answer.error) ? answer.error : null
  throw new ApiError(answer.response.status, problem, problem?.detail ?? `${answer.response.status} ${answer.response.statusText}`)
}

function isProblem(value: unknown): value is Problem {
  return typeof value === 'object' && value !== null && 'type' in value && 'detail' in value
}

/** A whole history, or what came after `after`. A page's cursor is the number of its last entry, so a live view asks only for what is new. */
export async function history(id: string, after: number, signal?: AbortSignal): Promise<HistoryEntry[]> {
  const entries: HistoryEntry[] = []
  let cursor: string | null = after > 0 ? String(after) : null
  do {
    const page: Schemas['HistoryPage'] = await ask(api.GET('/api/v1/sagas/{id}/history', {
      params: { path: { id }, query: { limit: 500, ...(cursor === null ? {} : { cursor }) } }, ...(signal ? { signal } : {}),
    }))
    entries.push(...page.items)
    cursor = page.next
  } while (cursor !== null)
  return entries
}

/** The same request for a shell. */
export function curl(method: string, path: string, body?: unknown): string {
  const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`
  const parts = ['curl', ...(method === 'GET' ? [] : ['-X', method]), quoted(root + path)]
  if (body !== undefined) parts.push('-H', quoted('Content-Type: application/json'), '-d', quoted(JSON.stringify(body)))
  return parts.join(' ')
}
