// Live data: one event stream for the whole page, polling where it does not come through, and one switch that pauses both.
import { useEffect, useRef, useState, useSyncExternalStore } from 'react'
import { root, type Stats, type Summary } from './api'

export type LiveState = 'live' | 'polling' | 'paused' | 'ended'

/** `missed`: more changed than the stream could take; whoever shows a list asks again. */
interface Listener { sagas?: (sagas: Summary[]) => void; stats?: (stats: Stats) => void; missed?: () => void }

const watchers = new Set<() => void>()
const listeners = new Set<Listener>()
let paused = false
let state: LiveState = 'polling'
let source: EventSource | null = null
let again: ReturnType<typeof setTimeout> | undefined
let heard = new Map<string, Summary>()
let flush: ReturnType<typeof setTimeout> | undefined

function set(next: LiveState) {
  if (state === next) return
  state = next
  for (const watcher of watchers) watcher()
}

function connect() {
  clearTimeout(again)
  const wanted = !paused && listeners.size > 0 && !document.hidden
  if (!wanted) {
    source?.close()
    source = null
    if (paused) set('paused')
    return
  }
  if (state === 'paused') set('polling')
  if (source) return
  source = new EventSource(`${root}/api/v1/feed`)
  source.onopen = () => set('live')
  source.addEventListener('saga', event => {
    const saga = parsed<Summary>(event)
    if (!saga) return
    heard.set(saga.id, saga)
    // However many change in a second, the page is drawn four times.
    flush ??= setTimeout(() => {
      flush = undefined
      const batch = [...heard.values()]
      heard = new Map()
      for (const listener of listeners) listener.sagas?.(batch)
    }, 250)
  })
  source.addEventListener('stats', event => {
    const stats = parsed<Stats>(event)
    if (stats) for (const listener of listeners) listener.stats?.(stats)
  })
  source.addEventListener('missed', () => { for (const listener of listeners) listener.missed?.() })
  source.onerror = () => {
    if (!paused) set('polling')
    // A connection that was cut is tried again by the browser; one that was refused (an older server, a proxy) is not, so we do.
    if (source?.readyState !== EventSource.CLOSED) return
    source = null
    again = setTimeout(connect, 15_000)
  }
}

function parsed<T>(event: Event): T | null {
  try {
    return JSON.parse((event as MessageEvent<string>).data) as T
  } catch {
    return null
  }
}

if (typeof document !== 'undefined') document.addEventListener('visibilitychange', connect)

export function setPaused(next: boolean) {
  paused = next
  connect()
  for (const watcher of watchers) watcher()
}

export const isPaused = () => paused

export function useLive(): LiveState {
  return useSyncExternalStore(watcher => (watchers.add(watcher), () => watchers.delete(watcher)), () => (paused ? 'paused' : state))
}

/** Hears every change of every saga, and the numbers, while mounted. */
export function useFeed(listener: Listener) {
  const latest = useRef(listener)
  useEffect(() => { latest.current = listener })
  useEffect(() => {
    const mine: Listener = { sagas: sagas => latest.current.sagas?.(sagas), stats: stats => latest.current.stats?.(stats), missed: () => latest.current.missed?.() }
    listeners.add(mine)
    connect()
    return () => { listeners.delete(mine); connect() }
  }, [])
}

/** How often to ask: `often` while nothing comes by itself, `seldom` while the feed tells of changes, never while paused. */
export function useInterval(often: number, seldom: number): number | false {
  const live = useLive()
  return live === 'paused' ? false : live === 'live' ? seldom : often
}

/** One saga's own stream: `changed` at each change, until it has ended. Where it does not come through, `changed` is called every second. */
export function useSagaEvents(id: string, ended: boolean, changed: () => void): LiveState {
  const live = useLive()
  const latest = useRef(changed)
  useEffect(() => { latest.current = changed })
  // A browser keeps six connections to a host: tabs that nobody looks at hold none.
  const hidden = useSyncExternalStore(watcher => (document.addEventListener('visibilitychange', watcher), () => document.removeEventListener('visibilitychange', watcher)), () => document.hidden)
  const stopped = live === 'paused' || ended || hidden
  const [mine, setMine] = useState<LiveState>('polling')
  useEffect(() => {
    if (stopped) return
    let wait: ReturnType<typeof setTimeout> | undefined
    let poll: ReturnType<typeof setInterval> | undefined
    const soon = () => { wait ??= setTimeout(() => { wait = undefined; latest.current() }, 120) }
    const stream = new EventSource(`${root}/api/v1/sagas/${encodeURIComponent(id)}/events`)
    stream.onopen = () => { clearInterval(poll); poll = undefined; setMine('live'); soon() }
    stream.addEventListener('saga', soon)
    stream.addEventListener('end', () => { soon(); stream.close() })
    stream.onerror = () => { setMine('polling'); poll ??= setInterval(() => { if (!document.hidden) latest.current() }, 1000) }
    return () => { stream.close(); clearTimeout(wait); clearInterval(poll) }
  }, [id, stopped])
  return ended ? 'ended' : live === 'paused' ? 'paused' : mine
}
