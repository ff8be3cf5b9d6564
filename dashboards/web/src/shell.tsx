// The frame: navigation, keys that work everywhere, the palette, and help.
import { useQuery } from '@tanstack/react-query'
import { useEffect, useId, useMemo, useRef, useState, type ReactNode } from 'react'
import { api, ask, type Stats } from './api'
import { useCounts, useDefinitions } from './data'
import { isEnded, statuses } from './filters'
import { Icon, type IconName } from './icons'
import { useKeys } from './keys'
import { isPaused, setPaused, useFeed, useLive } from './live'
import { Dialog, Live, Status } from './parts'
import { isDark, setPrefs, usePrefs } from './prefs'
import { go, to, useRoute } from './route'
import { heardStats } from './series'
import { count } from './time'

export interface Screen { path: string; name: string; icon: IconName; key: string; more?: true }

export const screens: Screen[] = [
  { path: 'overview', name: 'Overview', icon: 'overview', key: 'o' },
  { path: 'sagas', name: 'Sagas', icon: 'list', key: 's' },
  { path: 'failures', name: 'Failures', icon: 'warn', key: 'f' },
  { path: 'waiting', name: 'Waiting', icon: 'waiting', key: 'w', more: true },
  { path: 'definitions', name: 'Definitions', icon: 'graph', key: 'd' },
  { path: 'nodes', name: 'Nodes and bus', icon: 'nodes', key: 'n', more: true },
  { path: 'operations', name: 'Operations', icon: 'ops', key: 'a', more: true },
]

export function Shell({ children }: { children: ReactNode }) {
  const { path } = useRoute()
  const [palette, setPalette] = useState(false)
  const [help, setHelp] = useState(false)
  const { theme } = usePrefs()
  const at = path[0] ?? 'sagas'
  const toggleTheme = () => setPrefs({ theme: isDark() ? 'light' : 'dark' })
  useKeys({
    '?': () => setHelp(true), 'Ctrl+k': () => setPalette(true), p: () => setPaused(!isPaused()), t: toggleTheme,
    '/': () => { const field = document.querySelector<HTMLInputElement>('[data-search]'); if (field) field.focus(); else { go('#/sagas'); setTimeout(() => document.querySelector<HTMLInputElement>('[data-search]')?.focus(), 50) } },
    ...Object.fromEntries(screens.map(screen => [`g ${screen.key}`, () => go(to([screen.path]))])),
  })
  const { data: counts } = useCounts(null)
  const [fed, setFed] = useState<Stats | null>(null)
  useFeed({ stats: stats => { heardStats(stats); setFed(stats) } })
  const live = useLive() === 'live'
  const { data: definitions } = useDefinitions()
  const by = (live ? fed : null)?.byStatus ?? counts?.byStatus
  const open = by && statuses.filter(status => !isEnded(status)).reduce((sum, status) => sum + by[status], 0)
  const numbers: Record<string, ReactNode> = {
    sagas: open !== undefined && <span className="n" title="not ended">{count(open)}</span>,
    failures: by && by.Stuck > 0 && <span className="n" data-p="fault" title="stuck">{count(by.Stuck)}</span>,
    definitions: definitions && <span className="n">{new Set(definitions.items.map(each => each.name)).size}</span>,
  }
  return (
    <>
      <a className="skip" href="#main" onClick={event => { event.preventDefault(); document.getElementById('main')?.focus() }}>To the content</a>
      <nav className="nav" aria-label="Screens">
        <a className="brand" href="#/overview" aria-label="Sagas, overview"><svg viewBox="0 0 22 18" aria-hidden="true"><g fill="none" stroke="currentColor" strokeWidth="2" strokeLinecap="round"><path d="M1 5h11.500M9.500 2l3 3-3 3" /><path d="M11 13H3M6 10l-3 3 3 3" opacity=".45" /><path d="M17.500 1v16" /></g></svg><span>Sagas</span></a>
        <button type="button" className="find" onClick={() => setPalette(true)} title="Search and commands"><Icon name="search" /><span>Search</span> <kbd>Ctrl K</kbd></button>
        {screens.map(screen => (
          <a key={screen.path} href={to([screen.path])} className={screen.more ? 'more' : ''} aria-current={screen.path === at ? 'page' : undefined} title={`${screen.name} (g ${screen.key})`}>
            <Icon name={screen.icon} /><span>{screen.name}</span>{numbers[screen.path]}
          </a>
        ))}
        <button type="button" className="rest" onClick={() => setPalette(true)} aria-current={screens.some(screen => screen.more && screen.path === at) ? 'page' : undefined}><Icon name="dots" /><span>More</span></button>
        <div className="foot">
          <Live />
          <span className="row"><button type="button" className="btn bare keys" onClick={() => setHelp(true)}>Keys <kbd>?</kbd></button><span className="grow" />
            <button type="button" className="btn bare icon" aria-label={isDark() ? 'Light' : 'Dark'} title={`${isDark() ? 'Light' : 'Dark'} (t)${theme === 'system' ? ', follows the system now' : ''}`} onClick={toggleTheme}><Icon name="theme" /></button></span>
        </div>
      </nav>
      <main id="main" tabIndex={-1}>{children}</main>
      {palette && <Palette close={() => setPalette(false)} toggleTheme={toggleTheme} showKeys={() => setHelp(true)} />}
      <Help open={help} close={() => setHelp(false)} />
    </>
  )
}

/** The title of a screen, and of the window. */
export function Head({ title, children }: { title: string; children?: ReactNode }) {
  useEffect(() => { document.title = `${title} · Sagas` }, [title])
  return <div className="head"><h1>{title}</h1>{children}</div>
}

// ---------- palette

interface Command { key: string; group: string; icon: IconName; text: ReactNode; words: string; run: () => void }

function Palette({ close, toggleTheme, showKeys }: { close: () => void; toggleTheme: () => void; showKeys: () => void }) {
  const [text, setText] = useState('')
  const [index, setIndex] = useState(0)
  const list = useRef<HTMLUListElement>(null)
  const id = useId()
  const q = text.trim()
  const { data: definitions } = useDefinitions()
  const { data: found } = useQuery({
    queryKey: ['palette', q], enabled: q.length >= 2, staleTime: 2000,
    queryFn: ({ signal }) => ask(api.GET('/api/v1/sagas', { params: { query: { q, limit: 8 } }, signal })),
  })
  const commands = useMemo(() => {
    const all: Command[] = screens.map(screen => ({ key: screen.path, group: 'Go to', icon: screen.icon, text: screen.name, words: screen.name, run: () => go(to([screen.path])) }))
    for (const name of new Set(definitions?.items.map(each => each.name))) {
      all.push({ key: `start ${name}`, group: 'Start', icon: 'plus', text: <>Start {name}</>, words: `start ${name}`, run: () => go(to(['definitions', name], { start: '' })) })
      all.push({ key: `def ${name}`, group: 'Definitions', icon: 'graph', text: name, words: `definition ${name}`, run: () => go(to(['definitions', name])) })
    }
    for (const status of statuses) all.push({ key: status, group: 'Sagas that are', icon: 'list', text: <Status status={status} />, words: `sagas ${status}`, run: () => go(to(['sagas'], { status })) })
    all.push(
      { key: 'theme', group: 'Page', icon: 'theme', text: 'Light or dark', words: 'theme light dark', run: toggleTheme },
      { key: 'pause', group: 'Page', icon: 'paused', text: isPaused() ? 'Resume live updates' : 'Pause live updates', words: 'pause resume live', run: () => setPaused(!isPaused()) },
      ...(['local', 'utc', 'relative'] as const).map((mode): Command => ({ key: mode, group: 'Page', icon: 'waiting', text: `Times: ${mode === 'utc' ? 'UTC' : mode}`, words: `times ${mode}`, run: () => setPrefs({ times: mode }) })),
      { key: 'keys', group: 'Page', icon: 'ops', text: 'All keys', words: 'keys shortcuts help', run: showKeys },
    )
    const words = q.toLowerCase().split(/\s+/)
    const fits = q === '' ? all : all.filter(command => words.every(word => command.words.toLowerCase().includes(word)))
    const sagas = (q.length >= 2 ? found?.items ?? [] : []).map((saga): Command => ({
      key: `saga ${saga.id}`, group: 'Sagas', icon: 'right', words: saga.id, run: () => go(to(['sagas', saga.id])),
      text: <><Status status={saga.status}>{''}</Status> <span className="id">{saga.id}</span> <small>{saga.definition} v{saga.version}</small></>,
    }))
    const search: Command[] = q === '' ? [] : [{ key: 'search', group: 'Sagas', icon: 'search', words: q, text: <>Sagas whose id begins with, or with a tag of, <b>{q}</b></>, run: () => go(to(['sagas'], { q })) }]
    return [...sagas, ...fits, ...search]
  }, [q, found, definitions, toggleTheme, showKeys])
  const at = Math.min(index, commands.length - 1)
  useEffect(() => { list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: 'nearest' }) }, [at])
  const run = (command: Command | undefined) => { if (command) { close(); command.run() } }
  return (
    <Dialog title="Search and commands" open close={close}>
      <input className="input palette" autoFocus role="combobox" aria-expanded="true" aria-controls={id} aria-activedescendant={commands[at] ? `${id}-${at}` : undefined} aria-label="Search or command"
        placeholder="An id, a screen, a definition…" value={text} onChange={event => { setText(event.target.value); setIndex(0) }}
        onKeyDown={event => {
          if (event.key === 'ArrowDown') { event.preventDefault(); setIndex(Math.min(at + 1, commands.length - 1)) }
          else if (event.key === 'ArrowUp') { event.preventDefault(); setIndex(Math.max(at - 1, 0)) }
          else if (event.key === 'Enter') { event.preventDefault(); run(commands[at]) }
        }} />
      <ul className="palette" role="listbox" id={id} ref={list} aria-label="Commands">
        {commands.map((command, i) => (
          <li key={command.key} id={`${id}-${i}`} role="option" aria-selected={i === at} onMouseMove={() => setIndex(i)} onClick={() => run(command)}>
            <Icon name={command.icon} /><span className="cut">{command.text}</span><small>{command.group}</small>
          </li>
        ))}
      </ul>
    </Dialog>
  )
}

// ---------- help

const help: [string, [string, string][]][] = [
  ['Everywhere', [['Ctrl K', 'search and commands'], ['/', 'search'], ['?', 'this'], ['p', 'pause or resume live updates'], ['t', 'light or dark']]],
  ['Go to', screens.map(screen => [`g ${screen.key}`, screen.name])],
  ['In a list', [['j k', 'down, up'], ['Enter', 'open'], ['x', 'select'], ['a', 'select the page'], ['n', 'show new ones'], ['Esc', 'clear the selection']]],
  ['On a saga', [['j k', 'next, previous step'], ['[ ]', 'replay: one event back, forward'], ['Space', 'replay: play, stop'], ['Esc', 'back to now'], ['r', 'retry now'], ['u', 'back to the list']]],
]

function Help({ open, close }: { open: boolean; close: () => void }) {
  return (
    <Dialog title="Keys" open={open} close={close}>
      <div className="pad help">
        {help.map(([group, keys]) => <section key={group}><h3>{group}</h3><dl>{keys.map(([key, words]) => <div key={key}><dt>{key.split(' ').map(each => <kbd key={each}>{each}</kbd>)}</dt><dd>{words}</dd></div>)}</dl></section>)}
      </div>
    </Dialog>
  )
}

