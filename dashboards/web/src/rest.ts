// Calls that the OpenAPI document of an older server does not have: asked by their path, and an honest answer when they are missing.
import { ApiError, root, type Problem } from './api'
import { operator } from './prefs'

export async function request<T>(method: 'GET' | 'POST', path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const name = operator()
  let response: Response
  try {
    response = await fetch(root + path, {
      method, ...(signal ? { signal } : {}), ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      headers: { ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...(name && method !== 'GET' ? { 'X-Operator': name } : {}) },
    })
  } catch (fault) {
    if (fault instanceof DOMException && fault.name === 'AbortError') throw fault
    throw new ApiError(0, null, 'The server does not answer. It is tried again.')
  }
  if (response.ok) return await response.json() as T
  const problem = await response.json().catch(() => null) as Problem | null
  throw new ApiError(response.status, problem, problem?.detail ?? `${response.status} ${response.statusText}`)
}
