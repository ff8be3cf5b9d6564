// uPlot in the page's colours: redrawn when they change, as wide as its place, and with its numbers in words.
import { useEffect, useRef, useState } from 'react'
import uPlot from 'uplot'
import { usePrefs } from './prefs'

/** A token's colour as canvas understands it. */
export function colour(token: string): string {
  const probe = document.createElement('span')
  probe.style.color = `var(--${token})`
  document.body.append(probe)
  const found = getComputedStyle(probe).color
  probe.remove()
  return found
}

export function Chart({ data, options, height, label }: { data: uPlot.AlignedData; options: () => Omit<uPlot.Options, 'width' | 'height'>; height: number; label: string }) {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>(null)
  const latest = useRef({ data, options })
  const { theme } = usePrefs()
  const [system, setSystem] = useState(0)
  useEffect(() => { latest.current = { data, options } })
  useEffect(() => {
    const media = matchMedia('(prefers-color-scheme: dark)')
    const change = () => setSystem(n => n + 1)
    media.addEventListener('change', change)
    return () => media.removeEventListener('change', change)
  }, [])
  useEffect(() => {
    const place = box.current
    if (!place) return
    const drawn = new uPlot({ ...latest.current.options(), width: Math.max(80, place.clientWidth), height }, latest.current.data, place)
    plot.current = drawn
    const watch = new ResizeObserver(() => { if (place.clientWidth > 0 && place.clientWidth !== drawn.width) drawn.setSize({ width: place.clientWidth, height }) })
    watch.observe(place)
    return () => { watch.disconnect(); drawn.destroy(); plot.current = null }
  }, [theme, system, height])
  useEffect(() => { plot.current?.setData(data) }, [data])
  return <div className="plot" ref={box} role="img" aria-label={label} />
}

export function axes(values: (value: number) => string, keep: (value: number) => boolean = () => true): uPlot.Axis[] {
  const ink = colour('ink-3')
  const line = colour('line')
  const common = { stroke: ink, font: '11px system-ui, sans-serif', ticks: { show: false } } satisfies uPlot.Axis
  return [
    { ...common, grid: { show: false }, space: 70, size: 26, incrs: [1, 5, 15, 30, 60, 300, 600, 900, 1800, 3600], values: (_, splits) => splits.map(at => { const d = new Date(at * 1000); const hm = `${String(d.getHours()).padStart(2, '0')}:${String(d.getMinutes()).padStart(2, '0')}`; return at % 60 === 0 ? hm : `${hm}:${String(d.getSeconds()).padStart(2, '0')}` }) },
    { ...common, grid: { stroke: line, width: 1, filter: (_, splits) => splits.map(split => (keep(split) ? split : null)) }, size: 46, space: 34, filter: (_, splits) => splits.map(split => (keep(split) ? split : null)), values: (_, splits) => splits.map(split => (split === null ? '' : values(split))) },
  ]
}

/** A row of small bars; the words beside it say the same. */
export function Spark({ values, tone = 'none', label }: { values: readonly number[]; tone?: string; label: string }) {
  const most = Math.max(1, ...values)
  const width = 96
  const step = width / Math.max(1, values.length)
  const path = values.map((value, i) => { const h = value === 0 ? 0.6 : Math.max(1.5, (value / most) * 20); return `M${(i * step).toFixed(1)} ${(21 - h).toFixed(1)}h${Math.max(0.8, step - 1).toFixed(1)}V21h${(-Math.max(0.8, step - 1)).toFixed(1)}z` }).join('')
  return <svg className="spark" viewBox={`0 0 ${width} 22`} role="img" aria-label={label}><path data-p={tone} d={path} /></svg>
}
