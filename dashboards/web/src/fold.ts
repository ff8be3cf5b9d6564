// The timeline's axis: proportional while something is in flight, and a narrow band where nothing is.

export interface Fold { from: number; to: number; left: number; width: number }
export interface Axis {
  /** Percent from the left, for a time in milliseconds. Never decreases. */
  x: (time: number) => number
  folds: Fold[]
  idleMs: number
  totalMs: number
}

interface Interval { from: number; to: number }

const foldPercent = 3.2
/** All folds together take no more than this. */
const foldsPercent = 40

/**
 * @param busy When attempts were out; they may overlap.
 * @param from The first moment of the axis.
 * @param to Its last.
 * @param points Moments that want to be told apart even when they are close: sends and answers.
 */
export function axis(busy: readonly Interval[], from: number, to: number, points: readonly number[], fold: boolean): Axis {
  const end = Math.max(to, from + 1)
  const clipped = busy.map(({ from: a, to: b }) => ({ from: Math.max(a, from), to: Math.min(Math.max(b, a), end) })).filter(({ from: a, to: b }) => b >= a).sort((a, b) => a.from - b.from)
  const merged: Interval[] = []
  for (const interval of clipped) {
    const last = merged.at(-1)
    if (last && interval.from <= last.to) last.to = Math.max(last.to, interval.to)
    else merged.push({ ...interval })
  }
  const cuts = [...new Set([from, end, ...merged.flatMap(i => [i.from, i.to]), ...points.filter(p => p > from && p < end)])].sort((a, b) => a - b)
  const total = end - from
  const isBusy = (a: number, b: number) => merged.some(i => a >= i.from && b <= i.to)
  const segments = cuts.slice(1).map((b, i) => ({ from: cuts[i]!, to: b, busy: isBusy(cuts[i]!, b) }))
  const idleMs = segments.reduce((sum, s) => sum + (s.busy ? 0 : s.to - s.from), 0)
  // An idle stretch is folded when it would take more room as it is than as a band.
  const busyMs = Math.max(1, total - idleMs)
  // So is a long wait for one answer that would leave no room to tell the others apart; it gets a wider band.
  const idle = (s: Interval & { busy: boolean }) => !s.busy && s.to - s.from > Math.max(20, busyMs * 0.12)
  const longWait = (s: Interval & { busy: boolean }) => s.busy && segments.length > 2 && s.to - s.from > 8 * Math.max(1, busyMs - (s.to - s.from))
  const folded = segments.map(s => fold && (idle(s) || longWait(s)))
  const foldCount = folded.filter(Boolean).length
  const width = foldCount === 0 ? 0 : Math.min(foldPercent, foldsPercent / foldCount)
  const widths = segments.map((s, i) => (!folded[i] ? 0 : s.busy ? 16 : width))
  const open = segments.reduce((sum, s, i) => sum + (folded[i] ? 0 : s.to - s.from), 0)
  const openPercent = 100 - widths.reduce((sum, w) => sum + w, 0)
  const openCount = segments.length - foldCount
  // Even the shortest stretch gets some room, so that 0 ms can be seen and clicked; the rest is shared by length.
  const least = openCount === 0 ? 0 : Math.min(3, (openPercent * 0.5) / openCount)
  const share = openPercent - least * openCount
  const folds: Fold[] = []
  const marks: { time: number; x: number }[] = [{ time: from, x: 0 }]
  let x = 0
  segments.forEach((segment, i) => {
    const w = folded[i] ? widths[i]! : least + (open === 0 ? share / openCount : (share * (segment.to - segment.from)) / open)
    if (folded[i]) folds.push({ from: segment.from, to: segment.to, left: x, width: w })
    x += w
    marks.push({ time: segment.to, x })
  })
  const place = (time: number) => {
    if (time <= from) return 0
    if (time >= end) return 100
    let low = 0
    let high = marks.length - 1
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if (marks[middle]!.time <= time) low = middle
      else high = middle
    }
    const a = marks[low]!
    const b = marks[high]!
    return Math.min(100, a.x + ((b.x - a.x) * (time - a.time)) / (b.time - a.time))
  }
  return { x: place, folds, idleMs, totalMs: total }
}
