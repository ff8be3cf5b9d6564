// Versions of a definition: two held against each other, and a new one put.
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useMemo, useRef, useState, type DragEvent } from 'react'
import { asError, ReasonForm } from './actions'
import { api, ApiError, ask, curl, type Definition, type DefinitionStep } from './api'
import { useDefinitions } from './data'
import { compare, lineOf, locate, sideBySide, type Difference } from './diff'
import { draftOf, withVersion } from './draft'
import { Graph, plain, type NodeView } from './graph'
import { Icon } from './icons'
import { Copy, Empty, Trouble } from './parts'
import { amend, to } from './route'
import { shapes as shapesOf } from './run'
import { Head } from './shell'

// ---------- two versions held against each other

/** One side of a comparison: its name, its graph, and all that can be compared of it. */
interface Side { label: string; steps: readonly DefinitionStep[]; pivot: string | null; whole: unknown }

const commandNames = ['try', 'confirm', 'cancel', 'do', 'compensate', 'check'] as const
const told = (definition: Definition, asJson: boolean): Side => ({
  label: `v${definition.version}`, steps: definition.steps, pivot: definition.pivot, whole: asJson ? definition.json : { timeout: definition.timeout, pivot: definition.pivot, steps: definition.steps },
})
/** What a definition in C# and a text have in common: the graph and the calls. */
const drawn = (label: string, steps: readonly DefinitionStep[], pivot: string | null): Side => ({
  label, steps, pivot, whole: { steps: steps.map(step => ({ name: step.name, kind: step.kind, after: step.after, pivot: step.pivot, readOnly: step.readOnly, ...Object.fromEntries(commandNames.filter(name => step[name]).map(name => [name, step[name]])) })) },
})

const versionQuery = (name: string, version: number) => ({
  queryKey: ['definition', name, version], queryFn: ({ signal }: { signal: AbortSignal }) => ask(api.GET('/api/v1/definitions/{name}', { params: { path: { name }, query: { version } }, signal })),
})

/** A definition against another version of it: the newest other one, or the one that the link names. */
export function Compare({ definition, against }: { definition: Definition; against: number | null }) {
  const others = definition.versions.filter(version => version !== definition.version)
  const other = against !== null && others.includes(against) ? against : others.filter(version => version < definition.version).at(-1) ?? others.at(-1)
  const { data, error } = useQuery({ ...versionQuery(definition.name, other ?? 0), enabled: other !== undefined })
  if (other === undefined) return <Empty icon="graph" title="There is only one version" />
  return (
    <>
      <div className="row pad compare"><label className="row">Compare v{definition.version} with <select className="input" aria-label="The other version" value={other} onChange={event => amend({ with: event.target.value })}>{others.toReversed().map(version => <option key={version} value={version}>v{version}</option>)}</select></label></div>
      {error ? <div className="pad"><Trouble error={error} /></div> : data && (() => {
        const asJson = Boolean(data.json && definition.json)
        const sides = [told(data, asJson), told(definition, asJson)]
        if (data.version > definition.version) sides.reverse()
        return <Comparison before={sides[0]!} after={sides[1]!} />
      })()}
    </>
  )
}

function Comparison({ before, after, graphs = true }: { before: Side; after: Side; graphs?: boolean }) {
  const difference = useMemo(() => compare(before.whole, after.whole), [before, after])
  const [text, setText] = useState(false)
  const lines = useMemo(() => (text ? sideBySide(JSON.stringify(before.whole, null, 2), JSON.stringify(after.whole, null, 2)) : []), [text, before, after])
  const { added, removed, changed, changes } = difference
  const nothing = added.length + removed.length + changes.length === 0
  return (
    <>
      <p className="pad soft" role="status">{nothing ? <>Nothing differs but the number.</> : <>
        From {before.label} to {after.label}: {[added.length > 0 && <>new {names(added)}</>, removed.length > 0 && <>gone {names(removed)}</>, changed.length > 0 && <>changed {names(changed)}</>, changes.some(each => each.step === null) && <>changed the definition as a whole</>]
          .filter(Boolean).map((part, i) => <span key={i}>{i > 0 && '; '}{part}</span>)}.</>}</p>
      {!nothing && <>
        {graphs && [before, after].map((side, i) => <div key={side.label} className="versiongraph"><h3>{side.label}</h3><VersionGraph side={side} difference={difference} isAfter={i === 1} /></div>)}
        {changes.length > 0 && <div className="scroll"><table className="cards plaincards changes" aria-label="What changed">
          <thead><tr><th>Step</th><th>Field</th><th>{before.label}</th><th>{after.label}</th></tr></thead>
          <tbody>{changes.map(change => <tr key={`${change.step} ${change.path}`}><td>{change.step === null ? <small>the definition</small> : <b>{change.step}</b>}</td><td><code>{change.path}</code></td><td><small className="only-narrow">{before.label} </small>{change.before === null ? <small>not there</small> : <code>{change.before}</code>}</td><td><small className="only-narrow">{after.label} </small>{change.after === null ? <small>not there</small> : <code>{change.after}</code>}</td></tr>)}</tbody>
        </table></div>}
        <div className="row pad"><button type="button" className="btn" aria-expanded={text} onClick={() => setText(!text)}>{text ? 'Hide the text' : 'Side by side as text'}</button></div>
        {text && <div className="scroll"><table className="sides" aria-label={`${before.label} and ${after.label} side by side`}>
          <thead><tr><th className="num"><span className="sr">Line</span></th><th>{before.label}</th><th className="num"><span className="sr">Line</span></th><th>{after.label}</th></tr></thead>
          <tbody>{lines.map((line, i) => <tr key={i} className={line.same ? '' : 'differs'}>
            <td className="num">{line.leftNo}</td><td className={line.same ? '' : line.left === null ? 'none' : 'gone'}>{line.left !== null && <>{!line.same && <b>− </b>}{line.left}</>}</td>
            <td className="num">{line.rightNo}</td><td className={line.same ? '' : line.right === null ? 'none' : 'come'}>{line.right !== null && <>{!line.same && <b>+ </b>}{line.right}</>}</td></tr>)}</tbody>
        </table></div>}
      </>}
    </>
  )
}

const names = (all: readonly string[]) => <b>{all.join(', ')}</b>

function VersionGraph({ side, difference, isAfter }: { side: Side; difference: Difference | null; isAfter: boolean }) {
  const shapes = useMemo(() => shapesOf(side.steps, side.pivot), [side])
  const views = useMemo(() => new Map(shapes.map((shape): [string, NodeView] => {
    const mark = difference === null ? null : isAfter && difference.added.includes(shape.name) ? 'new' : !isAfter && difference.removed.includes(shape.name) ? 'gone' : difference.changed.includes(shape.name) ? 'changed' : null
    return [shape.name, { ...plain(shape, side.steps), future: mark === 'gone', ...(mark === null ? {} : { badges: [{ tone: 'none', text: mark, label: mark }] }) }]
  })), [shapes, side, difference, isAfter])
  return <Graph id={`compared ${JSON.stringify(side.steps.map(step => [step.name, step.after, step.pivot, step.compensate, step.try]))}`} shapes={shapes} steps={side.steps} views={views} ways={null} committed={false}
    commitText={side.pivot === null ? 'Commit point: every step succeeded' : `Commit point: ${side.pivot} succeeds`} selected={null} onSelect={() => undefined} />
}

// ---------- a new one

const example = `{
  "name": "transfer",
  "version": 1,
  "steps": [
    { "name": "out",
      "tcc": { "try": "http://127.0.0.1:6001/out/try", "confirm": "http://127.0.0.1:6001/out/confirm", "cancel": "http://127.0.0.1:6001/out/cancel" },
      "input": { "account": "$.input.from", "amount": "$.input.amount" } },
    { "name": "in", "after": ["out"],
      "step": { "do": "http://127.0.0.1:6002/in", "compensate": "http://127.0.0.1:6002/in/undo" },
      "input": { "account": "$.input.to", "amount": "$.input.amount" } }
  ],
  "result": { "receipt": "$.steps.in.result.receipt" }
}
`

/** A definition in JSON: pasted, dropped or chosen, seen as a graph before it is put, and refused with all its faults where they stand. `like`: the one that it is to follow. */
export function PutDefinition({ like }: { like: string | undefined }) {
  const { data } = useQuery({ queryKey: ['definition', like, undefined], enabled: like !== undefined, staleTime: 60_000, queryFn: ({ signal }) => ask(api.GET('/api/v1/definitions/{name}', { params: { path: { name: like! } }, signal })) })
  if (like !== undefined && !data) return <Head title={`A new version of ${like}`} />
  return <Editor key={like ?? ''} first={data?.json ? `${withVersion(JSON.stringify(data.json, null, 2), Math.max(...data.versions) + 1)}\n` : ''} like={like} />
}

function Editor({ first, like }: { first: string; like: string | undefined }) {
  const { data: definitions } = useDefinitions()
  const client = useQueryClient()
  const [text, setText] = useState(first)
  const [over, setOver] = useState(false)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<Error | null>(null)
  const [put, setPut] = useState<{ definition: Definition; isNew: boolean } | null>(null)
  const area = useRef<HTMLTextAreaElement>(null)
  const file = useRef<HTMLInputElement>(null)
  const { draft, fault } = useMemo(() => draftOf(text), [text])
  const known = definitions?.items.filter(each => each.name === draft?.name) ?? []
  const newest = known.at(-1)
  const same = known.find(each => each.version === draft?.version)
  const { data: model } = useQuery({ ...versionQuery(newest?.name ?? '', (same ?? newest)?.version ?? 0), enabled: newest !== undefined })
  const sides = useMemo((): [Side, Side] | null => {
    if (!draft || model?.name !== draft.name) return null
    return model.json ? [told(model, true), { label: `this v${draft.version}`, steps: draft.steps, pivot: draft.pivot, whole: draft.value }]
      : [drawn(`v${model.version}`, model.steps, model.pivot), drawn(`this v${draft.version}`, draft.steps, draft.pivot)]
  }, [draft, model])

  const write = (next: string) => { setText(next); setError(null); setPut(null) }
  const take = async (given: File | undefined) => { if (given) write(await given.text()) }
  const drop = (event: DragEvent) => { event.preventDefault(); setOver(false); void take(event.dataTransfer.files[0]) }
  const show = (path: string) => {
    const [from, until] = locate(text, path)
    const box = area.current
    if (!box) return
    box.focus()
    box.setSelectionRange(from, until)
    box.scrollTop = Math.max(0, (lineOf(text, from) - 4) * Number.parseFloat(getComputedStyle(box).lineHeight))
  }
  const run = async (reason: string) => {
    if (!draft) return
    setBusy(true)
    setError(null)
    try {
      const call = api.PUT('/api/v1/definitions/{name}', { params: { path: { name: draft.name }, query: { reason } }, body: draft.value as never, bodySerializer: () => text })
      const definition = await ask(call)
      const isNew = (await call).response.status === 201
      await client.invalidateQueries({ queryKey: ['definitions'] })
      await client.invalidateQueries({ queryKey: ['definition', definition.name] })
      setPut({ definition, isNew })
    } catch (refused) {
      setError(asError(refused))
    }
    setBusy(false)
  }
  const problem = error instanceof ApiError ? error.problem : null
  const faults = problem?.errors ?? (problem?.path ? [{ path: problem.path, message: error!.message }] : [])
  const free = Math.max(0, ...known.map(each => each.version)) + 1
  const ready = draft !== null && draft.name !== '' && draft.version > 0
  return (
    <>
      <Head title={like === undefined ? 'Put a definition' : `A new version of ${like}`}><small>in JSON</small><span className="grow" /><a className="btn" href="./api/v1/definitions/schema" target="_blank" rel="noreferrer">The format’s schema</a></Head>
      <div className="split even">
        <section className={over ? 'card dropping' : 'card'} aria-label="Definition" onDragOver={event => { event.preventDefault(); setOver(true) }} onDragLeave={() => setOver(false)} onDrop={drop}>
          <header><h2>Definition</h2><small className="wide">paste it, or drop a file here</small><span className="grow" />
            <input ref={file} type="file" accept=".json,application/json" hidden aria-label="File" onChange={event => { void take(event.target.files?.[0]); event.target.value = '' }} />
            <button type="button" className="btn" onClick={() => file.current?.click()}>Choose a file…</button>
            {text.trim() === '' ? <button type="button" className="btn" onClick={() => write(example)}>Begin with an example</button> : <Copy text={text} label="Copy the definition" />}</header>
          <div className="pad form">
            <textarea ref={area} className="input mono code" aria-label="The definition in JSON" rows={24} spellCheck={false} wrap="off" value={text} aria-invalid={fault !== null || faults.length > 0} placeholder={'{ "name": "transfer", "version": 1, "steps": [ … ] }'} onChange={event => write(event.target.value)} />
            {fault && <p className="bad"><Icon name="error" /><span>{fault.message} <button type="button" className="link" onClick={() => { area.current?.focus(); area.current?.setSelectionRange(fault.at, Math.min(text.length, fault.at + 1)) }}>line {lineOf(text, fault.at)}</button></span></p>}
          </div>
        </section>
        <div>
          {faults.length > 0 && (
            <section className="alert" data-p="fault" role="alert" aria-label="Faults"><Icon name="failed" />
              <div><h2><em>{faults.length === 1 ? '1 fault' : `${faults.length} faults`}.</em> Nothing of it was stored.</h2>
                <ul className="placed">{faults.map((each, i) => <li key={i}><button type="button" className="link" onClick={() => show(each.path)}><code>{each.path}</code></button> <small>line {lineOf(text, locate(text, each.path)[0])}</small><br />{each.message}</li>)}</ul></div>
            </section>
          )}
          {problem?.type === 'urn:sagas:version-taken' && draft && (
            <section className="alert" data-p="fault" role="alert" aria-label="Refused"><Icon name="failed" />
              <div><h2><em>{draft.name} v{draft.version} is another graph.</em> Nothing was changed.</h2><p>{error!.message}</p><p>A saga keeps the version that it began with, so a version never changes its meaning. Below is what differs.</p></div>
              <div className="row"><button type="button" className="btn" onClick={() => write(withVersion(text, free))}>Make it version {free}</button></div>
            </section>
          )}
          {put ? <Done {...put} before={known.filter(each => each.version !== put.definition.version).at(-1)?.version ?? null} /> : (
            <section className="card" aria-label="What it will do"><header><h2>What it will do</h2></header>
              {!ready ? <div className="calm">{draft ? <>It needs a name and a version, a whole number from 1.</> : <>Its graph shows here, and what it changes, before anything is stored.</>}</div> : <>
                <ReasonForm word={`Put ${draft.name} v${draft.version}`} icon="up" busy={busy} error={faults.length > 0 || problem?.type === 'urn:sagas:version-taken' ? null : error} focus={false} kept="in the audit" onDo={reason => void run(reason)}>
                  <p>{newest === undefined ? <><b>{draft.name} is new.</b> Once it is stored, anybody may start sagas of it.</>
                    : same === undefined ? <><b>v{draft.version} stands beside {known.length === 1 ? `v${newest.version}` : `${known.length} others`}.</b> {draft.version > newest.version ? 'Starts that name no version take it from now on; sagas under way keep theirs.' : `Starts that name no version still take v${newest.version}.`}</>
                    : <><b>v{draft.version} is there already.</b> The same graph again changes nothing. Another one is refused: a version never changes. <button type="button" className="link" onClick={() => write(withVersion(text, free))}>Make it version {free}</button></>} <span className="soft">It is kept for good.</span></p>
                  <div><Copy text={() => `${curl('PUT', `/api/v1/definitions/${encodeURIComponent(draft.name)}`, draft.value)}`} label="Copy as curl">Copy as curl</Copy></div>
                </ReasonForm></>}
            </section>)}
          {ready && !put && draft.steps.length > 0 && <section className="card" aria-label="Graph"><header><h2>Graph</h2><small>{draft.steps.length} step{draft.steps.length === 1 ? '' : 's'}</small></header><Preview steps={draft.steps} pivot={draft.pivot} /></section>}
          {ready && !put && sides && <section className="card" aria-label="Differences"><header><h2>Against v{model!.version}</h2></header><Comparison before={sides[0]} after={sides[1]} graphs={false} /></section>}
        </div>
      </div>
    </>
  )
}

function Preview({ steps, pivot }: { steps: readonly DefinitionStep[]; pivot: string | null }) {
  const side = useMemo(() => ({ label: '', steps, pivot, whole: null }), [steps, pivot])
  return <VersionGraph side={side} difference={null} isAfter />
}

function Done({ definition, isNew, before }: { definition: Definition; isNew: boolean; before: number | null }) {
  const { name, version } = definition
  return (
    <section className="card" aria-label="What it did">
      <div className="verdict" data-p="keep" role="status"><Icon name="check" /><div><h3><em>{isNew ? 'Stored.' : 'Nothing changed.'}</em> {name} v{version} {isNew ? 'is there.' : 'was there with the same graph.'}</h3>
        <p className="soft">{definition.steps.length} step{definition.steps.length === 1 ? '' : 's'}; {definition.versions.length === 1 ? 'its only version' : `its versions are ${definition.versions.map(each => `v${each}`).join(', ')}`}. Fingerprint <span className="id">{definition.fingerprint.slice(0, 12)}</span>.</p></div></div>
      <div className="row wrap pad"><a className="btn primary" href={to(['definitions', name], { version: String(version) })}>Open it</a><a className="btn" href={to(['definitions', name], { version: String(version), start: '' })}><Icon name="plus" />Start one</a>
        {before !== null && <a className="btn" href={to(['definitions', name], { version: String(version), view: 'compare', with: String(before) })}>Compare with v{before}</a>}</div>
    </section>
  )
}
