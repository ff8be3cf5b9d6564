// Numbers over time: what the server has kept, and after that what the feed has told since.
import { useQuery } from '@tanstack/react-query'
import { useMemo, useSyncExternalStore } from 'react'
import { api, ask, type Stats } from './api'
import { useInterval } from './live'
import { isoDuration, now } from './time'

/** Rates per second and latencies in milliseconds at a time in seconds since 1970; a latency is null while nothing ended. */
export interface Point { at: number; started: number; completed: number; compensated: number; p50: number | null; p95: number | null; p99: number | null }

const most = 900
let fed: Point[] = []
const watchers = new Set<() => void>()

export function heardStats(stats: Stats) {
  const at = Math.round(now() / 1000)
  if (fed.at(-1)?.at === at) return
  fed = [...fed.slice(-most), { at, started: stats.startedPerSecond, completed: stats.completedPerSecond, compensated: stats.compensatedPerSecond, ...stats.latencyMs }]
  for (const watcher of watchers) watcher()
}

/** The last `minutes`: 1 to 1440. */
export function useSeries(minutes: number): readonly Point[] {
  const live = useSyncExternalStore(watcher => (watchers.add(watcher), () => watchers.delete(watcher)), () => fed)
  const { data } = useQuery({
    queryKey: ['series', minutes], retry: false, refetchInterval: useInterval(5000, minutes > 15 ? 60_000 : 10_000),
    queryFn: ({ signal }) => ask(api.GET('/api/v1/stats/series', { params: { query: { minutes } }, signal })),
  })
  return useMemo(() => {
    const from = now() / 1000 - minutes * 60
    // The last span is still going on: half of it would look like a fall.
    const span = (isoDuration(data?.span) ?? 0) / 1000
    const kept = (data?.items ?? []).map((item): Point => ({
      at: Math.round(Date.parse(item.time) / 1000), started: item.startedPerSecond, completed: item.completedPerSecond, compensated: item.compensatedPerSecond,
      p50: item.latencyMs?.p50 ?? null, p95: item.latencyMs?.p95 ?? null, p99: item.latencyMs?.p99 ?? null,
    }))
    // The server's points are spans, the feed's are sliding minutes: one kind in a picture, unless there is nothing else.
    const whole = kept.filter(point => point.at + span <= now() / 1000 + 1)
    return (whole.length > 1 ? whole : live).filter(point => point.at >= from)
  }, [data, live, minutes])
}
