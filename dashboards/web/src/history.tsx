// A saga's history as a table: newest first, only the rows in sight are drawn.
import { useVirtualizer } from '@tanstack/react-virtual'
import { useMemo, useRef, useState } from 'react'
import type { HistoryEntry } from './api'
import { Icon, type IconName } from './icons'
import { Copy, Empty, Json, Segments, Time } from './parts'
import type { Tone } from './run'

const outcomes = new Set(['replied', 'timed-out', 'turned-back', 'committed', 'stuck', 'completed', 'compensated', 'terminated', 'resolved', 'mapping-failed', 'started'])

/** A line's sign and words. */
export function told(entry: HistoryEntry): { tone: Tone; icon: IconName; word: string; text: string; more: string } {
  const phase = entry.phase ?? ''
  const Phase = phase.charAt(0).toUpperCase() + phase.slice(1)
  const back = phase === 'cancel' || phase === 'compensate'
  const second = back || phase === 'confirm'
  const detail = entry.detail ?? ''
  const by = entry.by === null ? '' : `by ${entry.by}`
  const why = entry.reason === null ? by : `${by}: ${entry.reason}`
  switch (entry.event) {
    case 'started': return { tone: 'none', icon: 'running', word: 'started', text: 'Started', more: detail }
    case 'sent': return { tone: 'none', icon: back ? 'back' : 'fwd', word: 'sent', text: `${Phase} sent`, more: detail }
    case 'accepted': return { tone: 'wait', icon: 'waiting', word: 'accepted', text: 'Accepted, the outcome comes later', more: detail }
    case 'timed-out': return { tone: 'fault', icon: 'unknown', word: 'unknown', text: `No answer to ${phase} in time`, more: detail || 'asked again, or undone whatever it did' }
    case 'replied':
      if (entry.outcome === 'ok') return { tone: back ? 'undo' : second ? 'keep' : 'none', icon: back ? 'compensated' : second ? 'completed' : 'check', word: 'ok', text: detail === 'late' ? `${Phase} answered late` : back ? (phase === 'cancel' ? 'Cancelled' : 'Compensated') : phase === 'confirm' ? 'Confirmed' : phase === 'try' ? 'Held' : 'Done', more: detail === 'late' ? 'changes nothing: the saga had moved on' : detail }
      if (entry.outcome === 'refused') return { tone: 'fault', icon: 'refused', word: 'refused', text: `${Phase} refused`, more: detail }
      if (entry.outcome === 'busy') return { tone: 'wait', icon: 'waiting', word: 'busy', text: 'Busy, asked again later', more: detail }
      return { tone: 'fault', icon: 'error', word: entry.outcome ?? 'error', text: `${Phase} failed`, more: detail }
    case 'turned-back': return { tone: 'undo', icon: 'uturn', word: 'decided', text: 'Turned back before the commit point', more: detail }
    case 'committed': return { tone: 'keep', icon: 'flag', word: 'decided', text: 'Commit point passed', more: 'from here only forward' }
    case 'stuck': return { tone: 'fault', icon: 'stuck', word: 'stuck', text: 'Stuck: needs a person', more: detail || 'still retried' }
    case 'completed': return { tone: 'keep', icon: 'completed', word: 'ended', text: 'Completed', more: detail }
    case 'compensated': return { tone: 'undo', icon: 'compensated', word: 'ended', text: 'Compensated: all is undone', more: detail }
    case 'terminated': return { tone: 'none', icon: 'terminated', word: 'ended', text: 'Terminated', more: detail }
    case 'resolved': return { tone: 'none', icon: 'check', word: 'operator', text: `Resolved as ${detail}`, more: why }
    case 'paused': return { tone: 'none', icon: 'paused', word: 'operator', text: 'Paused', more: why }
    case 'resumed': return { tone: 'none', icon: 'play', word: 'operator', text: 'Resumed', more: why }
    case 'mapping-failed': return { tone: 'fault', icon: 'failed', word: 'error', text: 'The mapping failed', more: detail }
    default: {
      const words = entry.event.replaceAll('-', ' ')
      const text = words.charAt(0).toUpperCase() + words.slice(1)
      return entry.by === null ? { tone: 'none', icon: 'fwd', word: '', text, more: detail } : { tone: 'none', icon: 'ops', word: 'operator', text, more: [detail, why].filter(Boolean).join(' ') }
    }
  }
}

export function HistoryLine({ entry, started, short = false, state = '', onClick }: { entry: HistoryEntry; started: number | null; short?: boolean; state?: string; onClick?: () => void }) {
  const { tone, icon, word, text, more } = told(entry)
  return (
    <tr className={state} onClick={onClick} data-seq={entry.seq}>
      <td className="num"><small>{entry.seq}</small></td>
      <td className="id">{started === null ? <Time at={entry.time} millis /> : <span title={entry.time}>{offset(Date.parse(entry.time) - started)}</span>}</td>
      <td>{entry.step ?? <small>saga</small>}</td>
      <td>{entry.phase}</td>
      {!short && <td className="num">{entry.attempt}</td>}
      <td><span className="st" data-p={tone}><Icon name={icon} />{word}</span></td>
      <td className="fill" title={more}>{text} <small>{more}</small></td>
    </tr>
  )
}

const offset = (ms: number) => `+${(ms / 1000).toFixed(3)}`

type Which = 'all' | 'outcomes' | 'step'
type View = 'newest' | 'oldest' | 'json'

const rowHeight = 34

export function History({ id, entries, selected, at, onSelect }: { id: string; entries: readonly HistoryEntry[]; selected: string | null; at: number | null; onSelect: (entry: HistoryEntry) => void }) {
  const [which, setWhich] = useState<Which>('all')
  const [view, setView] = useState<View>('newest')
  const shown = useMemo(() => {
    const some = which === 'step' && selected !== null ? entries.filter(entry => entry.step === selected) : which === 'outcomes' ? entries.filter(entry => outcomes.has(entry.event) || entry.by !== null) : [...entries]
    return view === 'oldest' ? some : some.toReversed()
  }, [entries, which, view, selected])
  const started = entries.length === 0 ? null : Date.parse(entries[0]!.time)
  return (
    <section className="card" aria-label="History">
      <header><h2>History</h2><small>{shown.length === entries.length ? `${entries.length} events` : `${shown.length} of ${entries.length} shown`}</small><span className="grow" />
        <Segments label="Which events" value={which === 'step' && selected === null ? 'all' : which} onChange={setWhich} options={[['all', 'All'], ['outcomes', 'Outcomes'], ...(selected === null ? [] : [['step', selected] as const])]} />
        <Segments label="Order" value={view} onChange={setView} options={[['newest', 'Newest first'], ['oldest', 'Oldest first'], ['json', 'JSON']]} />
        <Copy text={() => JSON.stringify(entries, null, 2)} label={`Copy the history of ${id}`} />
      </header>
      {shown.length === 0 ? <Empty title="Nothing yet" /> : view === 'json' ? <Json value={shown.slice(0, 500)} label="History as JSON" /> : <Rows entries={shown} started={started} selected={selected} at={at} onSelect={onSelect} />}
    </section>
  )
}

function Rows({ entries, started, selected, at, onSelect }: { entries: readonly HistoryEntry[]; started: number | null; selected: string | null; at: number | null; onSelect: (entry: HistoryEntry) => void }) {
  const box = useRef<HTMLDivElement>(null)
  // A few dozen rows flow with the page; thousands scroll in their own box, and only those in sight exist.
  const long = entries.length > 120
  const rows = useVirtualizer({ count: entries.length, getScrollElement: () => box.current, estimateSize: () => rowHeight, overscan: 12, enabled: long })
  const items = long ? rows.getVirtualItems() : null
  const line = (entry: HistoryEntry) => (
    <HistoryLine key={entry.seq} entry={entry} started={started} onClick={() => onSelect(entry)}
      state={[at !== null && entry.seq > at ? 'after' : '', at === entry.seq ? 'on' : '', selected !== null && entry.step === selected ? 'sync' : ''].join(' ').trim()} />
  )
  const before = items?.[0]?.start ?? 0
  const after = items ? rows.getTotalSize() - (items.at(-1)?.end ?? 0) : 0
  return (
    <div className={long ? 'scroll tall' : 'scroll'} ref={box} tabIndex={long ? 0 : undefined} role={long ? 'group' : undefined} aria-label={long ? 'History rows' : undefined}>
      <table className={long ? 'hist' : 'cards hist'} aria-rowcount={entries.length + 1}>
        <thead><tr><th className="num">#</th><th>Time</th><th>Step</th><th>Phase</th><th className="num">Attempt</th><th>Outcome</th><th>What happened</th></tr></thead>
        <tbody>
          {before > 0 && <tr aria-hidden="true"><td colSpan={7} style={{ height: before, padding: 0 }} /></tr>}
          {items ? items.map(item => line(entries[item.index]!)) : entries.map(line)}
          {after > 0 && <tr aria-hidden="true"><td colSpan={7} style={{ height: after, padding: 0 }} /></tr>}
        </tbody>
      </table>
    </div>
  )
}
