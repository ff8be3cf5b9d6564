// Numbers over time: what the server has kept, and what the feed tells while this page is open.
import { useSyncExternalStore } from 'react'
import type { Stats } from './api'
import { now } from './time'

export interface Point { at: number; started: number; completed: number; compensated: number; p50: number; p95: number; p99: number; open: number }

const most = 3600
let points: Point[] = []
const watchers = new Set<() => void>()

export function heardStats(stats: Stats) {
  const at = Math.round(now() / 1000)
  const by = stats.byStatus
  if (points.at(-1)?.at === at) return
  points = [...points.slice(-most), {
    at, started: stats.startedPerSecond, completed: stats.completedPerSecond, compensated: stats.compensatedPerSecond, ...stats.latencyMs,
    open: by.Running + by.Confirming + by.Compensating + by.Stuck,
  }]
  for (const watcher of watchers) watcher()
}

export function useSeries(): readonly Point[] {
  return useSyncExternalStore(watcher => (watchers.add(watcher), () => watchers.delete(watcher)), () => points)
}
