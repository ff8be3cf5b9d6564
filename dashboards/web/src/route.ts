// Where we are, in the hash: the server hands out one page, under any path base, and every view has a link.
import { useSyncExternalStore } from 'react'

export interface Route { path: string[]; query: URLSearchParams }

let hash: string | undefined
let route: Route = { path: [], query: new URLSearchParams() }

export function parse(text: string): Route {
  const [path = '', query = ''] = text.replace(/^#?\/?/, '').split(/\?(.*)/s)
  return { path: path.split('/').filter(Boolean).map(part => { try { return decodeURIComponent(part) } catch { return part } }), query: new URLSearchParams(query) }
}

function current(): Route {
  if (location.hash !== hash) {
    hash = location.hash
    route = parse(hash)
  }
  return route
}

const subscribe = (listener: () => void) => {
  addEventListener('hashchange', listener)
  return () => removeEventListener('hashchange', listener)
}

export const useRoute = () => useSyncExternalStore(subscribe, current)

export function to(path: readonly string[], query?: URLSearchParams | Record<string, string>): string {
  const search = new URLSearchParams(query).toString()
  return `#/${path.map(encodeURIComponent).join('/')}${search ? `?${search}` : ''}`
}

export function go(target: string, replace = false) {
  if (!replace) location.hash = target
  else {
    history.replaceState(null, '', target)
    dispatchEvent(new HashChangeEvent('hashchange'))
  }
}

/** Changes some of the query and keeps the rest; null takes a name out. */
export function amend(change: Record<string, string | null>, replace = true) {
  const { path, query } = current()
  const next = new URLSearchParams(query)
  for (const [name, value] of Object.entries(change)) {
    if (value === null) next.delete(name)
    else next.set(name, value)
  }
  go(to(path, next), replace)
}
