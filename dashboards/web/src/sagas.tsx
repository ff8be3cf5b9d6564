// The list: what runs, what ended, what is stuck. Rows stay where they are; what is new waits behind a button.
import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { createColumnHelper, flexRender, getCoreRowModel, useReactTable, type Row, type Table } from '@tanstack/react-table'
import { memo, useCallback, useEffect, useMemo, useRef, useState, type FormEvent, type MouseEvent } from 'react'
import { ActionDialog, acts, unfit, type Act, type Doing } from './actions'
import { api, ask, type ApiError, type SagaStatus, type Summary } from './api'
import { BulkDialog } from './bulk'
import { useCounts, useDefinitions, useShapes } from './data'
import { fromQuery, isEnded, isNone, matches, none, spans, statuses, toApi, toQuery, type Filters } from './filters'
import { Icon } from './icons'
import { useKeys } from './keys'
import { useFeed, useLive } from './live'
import { Copy, Due, Empty, Flags, Live, Menu, MenuCheck, MenuItem, PauseButton, signOf, Status, Strip, Time, TimesSwitch, Took, Trouble, waits } from './parts'
import { setPrefs, usePrefs } from './prefs'
import { amend, go, to, useRoute } from './route'
import type { Shape } from './run'
import { Head } from './shell'
import { count, now } from './time'

const pageSizes = [50, 100, 200, 500]

export function Sagas() {
  const { query } = useRoute()
  const filters = useMemo(() => fromQuery(query), [query])
  const cursor = query.get('cursor')
  const limit = pageSizes.includes(Number(query.get('limit'))) ? Number(query.get('limit')) : 50
  const { data: counts } = useCounts(filters)
  const list = useList(filters, cursor, limit)
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set())
  const [allMatching, setAllMatching] = useState(false)
  const [doing, setDoing] = useState<Doing | null>(null)
  const [bulk, setBulk] = useState<Act | null>(null)
  const viewKey = toQuery(filters).toString() + (cursor ?? '')
  useEffect(() => { setSelected(new Set()); setAllMatching(false) }, [viewKey])

  const table = useColumns(list.rows, selected, setSelected)
  const chosen = list.rows.filter(saga => selected.has(saga.id))
  const wanted: readonly SagaStatus[] = filters.status.length > 0 ? filters.status : statuses
  const matching = counts && wanted.reduce((sum, status) => sum + counts.byStatus[status], 0)
  const clear = () => { setSelected(new Set()); setAllMatching(false) }
  const box = useRef<HTMLDivElement>(null)
  const step = (by: number) => {
    const links = [...box.current?.querySelectorAll<HTMLAnchorElement>('tbody a.id') ?? []]
    const at = links.findIndex(link => link.closest('tr')?.contains(document.activeElement))
    links[at === -1 ? (by > 0 ? 0 : links.length - 1) : Math.max(0, Math.min(links.length - 1, at + by))]?.focus()
  }
  const focused = () => document.activeElement?.closest('tr')?.dataset['id']
  const toggle = (id: string) => setSelected(old => { const next = new Set(old); if (!next.delete(id)) next.add(id); return next })
  useKeys({
    j: () => step(1), k: () => step(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1),
    x: () => { const id = focused(); if (id) toggle(id) }, n: list.showNew, Escape: clear,
    a: () => setSelected(new Set(list.rows.map(saga => saga.id))),
  })

  const act = (which: Act) => (allMatching ? setBulk(which) : setDoing({ act: which, sagas: chosen }))
  return (
    <>
      <Head title="Sagas"><Live>{list.rate}</Live><span className="grow" /><TimesSwitch /><Columns table={table} /><PauseButton />
        <a className="btn primary" href={to(['definitions'], { start: '' })}><Icon name="plus" />Start a saga</a></Head>
      <StatusCounts filters={filters} counts={counts?.byStatus} query={query} />
      <FilterBar filters={filters} query={query} />
      <section className="card" aria-label="Sagas" ref={box}>
        {list.fresh > 0 && <button type="button" className="news" onClick={list.showNew}><Icon name="up" />{list.fresh}{list.freshMore ? '+' : ''} new {list.fresh === 1 ? 'saga matches' : 'sagas match'}. Show {list.fresh === 1 ? 'it' : 'them'} <kbd>n</kbd></button>}
        {list.error ? <div className="pad"><Trouble error={list.error} again={list.showNew} /></div>
          : list.rows.length === 0 && !list.loading ? <Nothing filters={filters} onFirst={cursor === null} />
          : <Rows table={table} selected={selected} gone={list.gone} />}
      </section>
      <div className="row under">
        <small>{list.rows.length}{matching === undefined || cursor !== null ? '' : ` of ${count(Math.max(matching, list.rows.length))}`}, newest first</small><span className="grow" />
        <Legend /><span className="grow" />
        <label className="row wide"><small>Rows</small><select className="input" value={limit} onChange={event => amend({ limit: event.target.value === '50' ? null : event.target.value, cursor: null })}>{pageSizes.map(size => <option key={size}>{size}</option>)}</select></label>
        <button type="button" className="btn" disabled={cursor === null} onClick={() => (pages.has(cursor ?? '') ? history.back() : amend({ cursor: null }))}>Newer</button>
        <button type="button" className="btn" disabled={list.next === null} onClick={() => { if (list.next !== null) { pages.add(list.next); amend({ cursor: list.next }, false); scrollTo(0, 0) } }}>Older</button>
      </div>
      {(chosen.length > 0 || allMatching) && (
        <div className="bulk" role="region" aria-label="Selection">
          <b>{allMatching ? `All ${matching === undefined ? '' : count(matching)} that match` : `${chosen.length} selected`}</b>
          {allMatching ? <button type="button" className="link" onClick={() => setAllMatching(false)}>Only the {chosen.length} on this page</button>
            : matching !== undefined && matching > chosen.length && <button type="button" className="link" onClick={() => setAllMatching(true)}>Select all {count(matching)} that match</button>}
          <span className="sep" />
          {(['retry', 'cancel', 'pause', 'resume', 'terminate'] as const).map(each => {
            const fit = allMatching ? null : chosen.filter(saga => unfit(each, saga) === null).length
            if (each === 'resume' && !allMatching && fit === 0) return null
            const { word, icon, danger } = acts[each]
            const why = fit === 0 ? chosen.map(saga => `${saga.id}: ${unfit(each, saga)}`).slice(0, 5).join('\n') : undefined
            return <button key={each} type="button" className={`btn${danger ? ' danger' : ''}${each === 'retry' || each === 'cancel' ? '' : ' wide'}`} disabled={fit === 0} title={why} onClick={() => act(each)}><Icon name={icon} />{word}{fit === null || fit === chosen.length ? '' : ` ${fit} of ${chosen.length}`}…</button>
          })}
          <span className="only-narrow"><Menu label="More actions" className="btn icon" trigger={<Icon name="dots" />}>
            {(['pause', 'resume', 'terminate'] as const).filter(each => allMatching || chosen.some(saga => unfit(each, saga) === null)).map(each => <MenuItem key={each} danger={each === 'terminate'} onSelect={() => act(each)}><Icon name={acts[each].icon} />{acts[each].word}…</MenuItem>)}
          </Menu></span>
          <button type="button" className="btn bare icon" aria-label="Clear selection" onClick={clear}><Icon name="x" /></button>
        </div>
      )}
      <ActionDialog doing={doing} close={() => setDoing(null)} />
      {bulk && <BulkDialog act={bulk} filters={filters} close={() => setBulk(null)} />}
    </>
  )
}

/** Pages that were reached by "Older" here: the browser's way back leads to the one before. */
const pages = new Set<string>()

// ---------- data

/** A page of the list that holds still: rows change in place, and what is new is only counted until it is asked for. */
function useList(filters: Filters, cursor: string | null, limit: number) {
  const key = useMemo(() => ['sagas', toQuery(filters).toString(), cursor, limit] as const, [filters, cursor, limit])
  const read = useCallback((signal: AbortSignal) => ask(api.GET('/api/v1/sagas', {
    params: { query: { ...toApi(filters, now()), limit, ...(cursor === null ? {} : { cursor }) } }, signal,
  })), [filters, cursor, limit])
  const page = useQuery({ queryKey: key, queryFn: ({ signal }) => read(signal), staleTime: Infinity, gcTime: 60_000, refetchOnWindowFocus: false, refetchOnMount: 'always', placeholderData: keepPreviousData })
  const [changed, setChanged] = useState<ReadonlyMap<string, Summary>>(new Map())
  const [fresh, setFresh] = useState<ReadonlySet<string>>(new Set())
  const [rate, setRate] = useState<string>()
  useEffect(() => { setChanged(new Map()); setFresh(new Set()) }, [key, page.dataUpdatedAt])

  const items = page.data?.items
  const shown = useMemo(() => new Set(items?.map(saga => saga.id)), [items])
  const hear = useCallback((sagas: readonly Summary[]) => {
    if (!items) return
    const newest = items[0]?.startedAt ?? ''
    const mine = sagas.filter(saga => shown.has(saga.id))
    if (mine.length > 0) setChanged(old => { const next = new Map(old); for (const saga of mine) if ((next.get(saga.id)?.updatedAt ?? '') <= saga.updatedAt) next.set(saga.id, saga); return next })
    if (cursor !== null) return
    const others = sagas.filter(saga => !shown.has(saga.id) && saga.startedAt >= newest && matches(filters, saga, now()))
    if (others.length > 0) setFresh(old => (others.every(saga => old.has(saga.id)) ? old : new Set([...old, ...others.map(saga => saga.id)])))
  }, [items, shown, cursor, filters])

  // Where no feed comes through, the same page is asked for and held against the one that is shown.
  const live = useLive()
  const poll = useQuery({ queryKey: ['sagas-poll', ...key], queryFn: ({ signal }) => read(signal), enabled: live === 'polling' && items !== undefined, refetchInterval: 2500, gcTime: 0 })
  useEffect(() => { if (poll.data) hear(poll.data.items) }, [poll.data, hear])
  useFeed({ sagas: hear, missed: () => void poll.refetch(), stats: stats => setRate(`Live, ${stats.startedPerSecond.toFixed(stats.startedPerSecond < 10 ? 1 : 0)} started/s`) })

  const rows = useMemo(() => items?.map(saga => changed.get(saga.id) ?? saga) ?? [], [items, changed])
  const gone = useMemo(() => new Set(rows.filter(saga => changed.has(saga.id) && !matches(filters, saga, now())).map(saga => saga.id)), [rows, changed, filters])
  return {
    rows, gone, rate, fresh: fresh.size, freshMore: live === 'polling' && fresh.size >= limit, next: page.data?.next ?? null,
    loading: page.isPending, error: page.error as ApiError | null,
    showNew: () => { void page.refetch(); scrollTo({ top: 0 }) },
  }
}

// ---------- table

const column = createColumnHelper<Summary>()
const titles: Record<string, string> = { status: 'Status', id: 'Saga', definition: 'Definition', steps: 'Steps', at: 'At step', attempts: 'Attempts', next: 'Next', started: 'Started', took: 'Took', waitingFor: 'Waiting for' }

function useColumns(rows: Summary[], selected: ReadonlySet<string>, setSelected: (ids: ReadonlySet<string>) => void): Table<Summary> {
  const shapesOf = useShapes()
  const { hiddenColumns } = usePrefs()
  const columns = useMemo(() => [
    column.display({ id: 'status', cell: ({ row }) => <><Status status={row.original.status} /> <Flags saga={row.original} /></> }),
    column.display({ id: 'id', meta: { className: 'full' }, cell: ({ row: { original: saga } }) => <><a className="id" href={to(['sagas', saga.id])}>{saga.id}</a> <Tags tags={saga.tags} /></> }),
    column.display({ id: 'definition', meta: { className: 'wide' }, cell: ({ row: { original: saga } }) => <>{saga.definition} <small>v{saga.version}</small></> }),
    column.display({ id: 'steps', meta: { className: 'full' }, cell: ({ row }) => <MemoStrip shapes={shapesOf(row.original.definition, row.original.version)} saga={row.original} /> }),
    column.display({ id: 'at', meta: { className: 'full fill' }, cell: ({ row }) => <AtStep saga={row.original} /> }),
    column.display({ id: 'waitingFor', meta: { className: 'wide soft cut most' }, cell: ({ row }) => <span title={row.original.waitingFor ?? ''}>{waits(row.original.waitingFor)}</span> }),
    column.display({ id: 'attempts', meta: { className: 'num att wide' }, cell: ({ row: { original: saga } }) => (saga.status === 'Stuck' ? <b>{saga.attempts}</b> : saga.attempts) }),
    column.display({ id: 'next', meta: { className: 'num wide' }, cell: ({ row }) => <Due at={row.original.nextAttemptAt} /> }),
    column.display({ id: 'started', meta: { className: 'num wide roomy' }, cell: ({ row }) => <Time at={row.original.startedAt} /> }),
    column.display({ id: 'took', meta: { className: 'num' }, cell: ({ row }) => <Took from={row.original.startedAt} to={row.original.finishedAt} /> }),
  ], [shapesOf])
  const hidden = hiddenColumns.length === 0 ? ['waitingFor'] : hiddenColumns
  return useReactTable({
    data: rows, columns, getCoreRowModel: getCoreRowModel(), getRowId: saga => saga.id,
    state: { columnVisibility: Object.fromEntries(hidden.map(id => [id, false])), rowSelection: Object.fromEntries([...selected].map(id => [id, true])) },
    onRowSelectionChange: change => {
      const old = Object.fromEntries([...selected].map(id => [id, true]))
      setSelected(new Set(Object.keys(typeof change === 'function' ? change(old) : change)))
    },
  })
}

const MemoStrip = memo(function MemoStrip({ shapes, saga }: { shapes: Shape[]; saga: Summary }) {
  return <Strip shapes={shapes} saga={saga} />
}, (a, b) => a.shapes === b.shapes && a.saga.id === b.saga.id && a.saga.updatedAt === b.saga.updatedAt && a.saga.status === b.saga.status)

function Columns({ table }: { table: Table<Summary> }) {
  return (
    <span className="wide"><Menu label="Columns" trigger="Columns">
      {table.getAllLeafColumns().filter(each => each.id !== 'id').map(each => (
        <MenuCheck key={each.id} checked={each.getIsVisible()} onChange={checked => {
          const hidden = table.getAllLeafColumns().filter(other => (other.id === each.id ? !checked : !other.getIsVisible())).map(other => other.id)
          setPrefs({ hiddenColumns: hidden.length === 0 ? ['nothing'] : hidden })
        }}>{titles[each.id]}</MenuCheck>
      ))}
    </Menu></span>
  )
}

const classOf = (meta: unknown) => (meta as { className?: string } | undefined)?.className

function Rows({ table, selected, gone }: { table: Table<Summary>; selected: ReadonlySet<string>; gone: ReadonlySet<string> }) {
  const open = (event: MouseEvent, id: string) => {
    if ((event.target as HTMLElement).closest('a, button, input') || getSelection()?.toString()) return
    if (event.ctrlKey || event.metaKey) window.open(to(['sagas', id]))
    else go(to(['sagas', id]))
  }
  const line = (row: Row<Summary>) => (
    <tr key={row.id} data-id={row.id} className={`${selected.has(row.id) ? 'on' : ''}${gone.has(row.id) ? ' gone' : ''}`} onClick={event => open(event, row.id)} title={gone.has(row.id) ? 'No longer matches the filter' : undefined}>
      <td><input type="checkbox" aria-label={`Select ${row.id}`} checked={row.getIsSelected()} onChange={row.getToggleSelectedHandler()} /></td>
      {row.getVisibleCells().map(cell => <td key={cell.id} className={classOf(cell.column.columnDef.meta)}>{flexRender(cell.column.columnDef.cell, cell.getContext())}</td>)}
    </tr>
  )
  return (
    <div className="scroll"><table className="cards list">
      <thead><tr>
        <th><input type="checkbox" aria-label="Select the page" checked={table.getIsAllRowsSelected()} ref={box => { if (box) box.indeterminate = table.getIsSomeRowsSelected() }} onChange={table.getToggleAllRowsSelectedHandler()} /></th>
        {table.getVisibleLeafColumns().map(each => <th key={each.id} className={classOf(each.columnDef.meta)}>{each.id === 'steps' ? <span className="lineup">Steps<Icon name="flag" label="and the commit point" /></span> : titles[each.id]}</th>)}
      </tr></thead>
      <tbody>{table.getRowModel().rows.map(line)}</tbody>
    </table></div>
  )
}

export function Tags({ tags }: { tags: Record<string, string> }) {
  return <>{Object.entries(tags).map(([key, value]) => <span key={key}><a className="tag" href={to(['sagas'], { tag: `${key}:${value}` })} title={`Sagas with ${key}=${value}`}>{key}={value}</a> </span>)}</>
}

/** Where it is, or what it ended with. */
export function AtStep({ saga }: { saga: Summary }) {
  if (saga.status === 'Completed') return <small className="wide">finished</small>
  if (isEnded(saga.status) || saga.step === null) {
    if (saga.error === null) return saga.paused ? <span className="why">paused</span> : <small>{saga.waitingFor}</small>
    return <>{saga.error.step} <span className="why" title={saga.error.message}><code>{saga.error.code}</code></span></>
  }
  const stuck = saga.status === 'Stuck'
  return <span title={saga.stepError?.message ?? saga.waitingFor ?? ''}>{saga.step} <span className="why" data-p={stuck ? 'fault' : saga.stepError ? 'wait' : undefined}>{saga.phase ?? 'waits'}{saga.stepError && <>: <code>{saga.stepError.code}</code></>}</span></span>
}

export function Legend() {
  return <span className="legend wide"><span data-p="try"><i />held</span><span data-p="keep"><i />kept</span><span data-p="undo"><i className="bk" />undone</span><span data-p="fault"><i className="e" />refused or stuck</span><span><i className="o" />not sent</span></span>
}

function Nothing({ filters, onFirst }: { filters: Filters; onFirst: boolean }) {
  if (!onFirst) return <Empty title="No older sagas"><button type="button" className="link" onClick={() => amend({ cursor: null })}>Back to the newest</button></Empty>
  return isNone(filters)
    ? <Empty title="No saga has been started yet"><a href={to(['definitions'], { start: '' })}>Start one here</a>, or by REST: see <a href="./swagger">every call</a>.</Empty>
    : <Empty icon="search" title="No saga matches">{filters.status.length > 0 && filters.status.every(status => status === 'Stuck') ? 'Nothing is stuck: nobody is needed. ' : ''}<a href="#/sagas">Show all</a></Empty>
}

// ---------- filters

function StatusCounts({ filters, counts, query }: { filters: Filters; counts: Record<SagaStatus, number> | undefined; query: URLSearchParams }) {
  const link = (status: SagaStatus[]) => to(['sagas'], toQuery({ ...filters, status }, without(query)))
  const total = counts && statuses.reduce((sum, status) => sum + counts[status], 0)
  return (
    <nav className="counts" aria-label="Status">
      <a href={link([])} aria-current={filters.status.length === 0 ? 'true' : undefined}>All <span className="n">{total === undefined ? '' : count(total)}</span></a>
      {statuses.map(status => {
        const { tone, icon } = signOf(status)
        const on = filters.status.includes(status)
        const several = (event: MouseEvent<HTMLAnchorElement>) => {
          if (!event.shiftKey) return
          event.preventDefault()
          go(link(on ? filters.status.filter(each => each !== status) : [...filters.status, status]))
        }
        return (
          <span key={status} className="row">{status === 'Completed' && <span className="gap" />}
            <a href={link(on && filters.status.length === 1 ? [] : [status])} onClick={several} data-p={tone} aria-current={on ? 'true' : undefined} title="Shift-click adds or takes away"><Icon name={icon} />{status} <span className="n">{counts ? count(counts[status]) : ''}</span></a>
          </span>
        )
      })}
    </nav>
  )
}

/** The rest of the query stays, but another filter begins at the newest again. */
function without(query: URLSearchParams) {
  const rest = new URLSearchParams(query)
  rest.delete('cursor')
  return rest
}

function FilterBar({ filters, query }: { filters: Filters; query: URLSearchParams }) {
  const [text, setText] = useState(filters.q ?? '')
  const [more, setMore] = useState(false)
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  const set = useCallback((change: Partial<Filters>, replace = false) => go(to(['sagas'], toQuery({ ...filters, ...change }, without(query))), replace), [filters, query])
  useEffect(() => { if (document.activeElement?.hasAttribute('data-search') !== true) setText(filters.q ?? '') }, [filters.q])
  useEffect(() => () => clearTimeout(timer.current), [])
  const type = (value: string) => {
    setText(value)
    clearTimeout(timer.current)
    timer.current = setTimeout(() => set({ q: value.trim() || null }, true), 250)
  }
  const chip = (k: string, value: string, off: Partial<Filters>) => <span className="chip" key={k + value}><span className="k">{k}</span> {value} <button type="button" aria-label={`Take out ${k} ${value}`} onClick={() => set(off)}><Icon name="x" /></button></span>
  return (
    <>
      <div className="row wrap filters" role="search">
        <span className="searchbox"><input className="input" data-search type="search" aria-label="Id starts with, or a tag’s value" placeholder="Id starts with, or a tag’s value" value={text} onChange={event => type(event.target.value)}
          onKeyDown={event => { if (event.key === 'Escape') { type(''); event.currentTarget.blur() } else if (event.key === 'Enter') { clearTimeout(timer.current); set({ q: text.trim() || null }) } }} /><kbd>/</kbd></span>
        {filters.since && chip('started', `last ${filters.since}`, { since: null })}
        {filters.startedAfter && chip('after', filters.startedAfter, { startedAfter: null })}
        {filters.startedBefore && chip('before', filters.startedBefore, { startedBefore: null })}
        {filters.definition && chip('definition', filters.definition, { definition: null })}
        {filters.step && chip('at step', filters.step, { step: null })}
        {filters.error && chip('error', filters.error, { error: null })}
        {filters.tag.map(tag => chip('tag', tag.replace(':', '='), { tag: filters.tag.filter(each => each !== tag) }))}
        <button type="button" className="chip add" aria-expanded={more} onClick={() => setMore(!more)}><Icon name="plus" />Filter</button>
        {!isNone(filters) && <button type="button" className="link" onClick={() => { setText(''); go(to(['sagas'], toQuery(none, without(query)))) }}>Clear</button>}
        <span className="grow" />
        <span className="wide"><Copy text={() => location.href} label="Copy link to this view"><Icon name="link" />Copy link to this view</Copy></span>
      </div>
      {more && <FilterForm filters={filters} set={set} close={() => setMore(false)} />}
    </>
  )
}

function FilterForm({ filters, set, close }: { filters: Filters; set: (change: Partial<Filters>) => void; close: () => void }) {
  const { data } = useDefinitions()
  const names = [...new Set(data?.items.map(each => each.name))]
  const steps = [...new Set(data?.items.filter(each => filters.definition === null || each.name === filters.definition).flatMap(each => each.steps.map(step => step.name)))]
  const [tag, setTag] = useState('')
  const addTag = (event: FormEvent) => {
    event.preventDefault()
    const given = tag.replace('=', ':').trim()
    if (given.indexOf(':') > 0) { set({ tag: [...filters.tag, given] }); setTag('') }
  }
  const local = (iso: string | null) => (iso === null ? '' : new Date(Date.parse(iso) - new Date(iso).getTimezoneOffset() * 60_000).toISOString().slice(0, 16))
  const iso = (value: string) => (value === '' ? null : new Date(value).toISOString())
  return (
    <form className="card pad filterform" onSubmit={addTag} aria-label="Filters">
      <label className="field"><span>Definition</span><select className="input" value={filters.definition ?? ''} onChange={event => set({ definition: event.target.value || null })}><option value="">any</option>{names.map(name => <option key={name}>{name}</option>)}</select></label>
      <label className="field"><span>At step</span><select className="input" value={filters.step ?? ''} onChange={event => set({ step: event.target.value || null })}><option value="">any</option>{steps.map(name => <option key={name}>{name}</option>)}</select></label>
      <label className="field"><span>Error code</span><input className="input mono" defaultValue={filters.error ?? ''} placeholder="of an open saga" onBlur={event => set({ error: event.target.value.trim() || null })} /></label>
      <div className="field"><span><label htmlFor="filter-tag">Tag</label></span><span className="row"><input id="filter-tag" className="input mono" placeholder="tenant=acme" value={tag} onChange={event => setTag(event.target.value)} /><button className="btn" disabled={!/.[:=]/.test(tag)}>Add</button></span></div>
      <label className="field"><span>Started in the last</span><select className="input" value={filters.since ?? ''} onChange={event => set({ since: event.target.value || null, startedAfter: null })}><option value="">any time</option>{spans.map(span => <option key={span}>{span}</option>)}</select></label>
      <label className="field"><span>Started after</span><input className="input" type="datetime-local" value={local(filters.startedAfter)} onChange={event => set({ startedAfter: iso(event.target.value), since: null })} /></label>
      <label className="field"><span>Started before</span><input className="input" type="datetime-local" value={local(filters.startedBefore)} onChange={event => set({ startedBefore: iso(event.target.value) })} /></label>
      <button type="button" className="btn bare icon" aria-label="Close the filters" onClick={close}><Icon name="x" /></button>
    </form>
  )
}
