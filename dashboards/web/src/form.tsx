// A form drawn from the input's JSON Schema, with the JSON itself one click away.
import { useQuery } from '@tanstack/react-query'
import { useEffect, useId, useMemo, useRef, useState, type FormEvent, type ReactNode } from 'react'
import { asError } from './actions'
import { api, ApiError, ask, curl, type Definition } from './api'
import { Icon } from './icons'
import { Copy, Segments } from './parts'
import { go, to } from './route'
import { blank, check, mainType, nullable, put, resolve, type Fault, type Schema } from './schema'

interface FieldProps { name: string; schema: Schema; root: Schema; value: unknown; path: (string | number)[]; jsonPath: string; required: boolean; faults: readonly Fault[]; set: (path: (string | number)[], value: unknown) => void; remove?: () => void }

function Field({ name, schema: given, root, value, path, jsonPath, required, faults, set, remove }: FieldProps) {
  const schema = resolve(given, root)
  const type = mainType(schema)
  const id = useId()
  const fault = faults.find(each => each.path === jsonPath)?.message
  const hint = [!required && 'optional', schema.description, type === 'string' && schema.format].filter(Boolean).join(', ')
  const common = { id, 'aria-invalid': fault !== undefined, 'aria-describedby': fault === undefined ? undefined : `${id}-bad`, required }
  const label = (
    <span className="row"><label htmlFor={id}>{name}</label>{hint && <small>{hint}</small>}{remove && <><span className="grow" /><button type="button" className="btn bare icon" aria-label={`Take out ${name}`} onClick={remove}><Icon name="x" /></button></>}</span>
  )
  const bad = fault !== undefined && <span className="bad" id={`${id}-bad`}><Icon name="error" />{fault}</span>
  const text = (kind: string, parse: (text: string) => unknown): ReactNode => (
    <input {...common} className={`input${kind === 'email' || kind === 'text' ? '' : ' mono'}`} type={kind} value={typeof value === 'string' || typeof value === 'number' ? String(value) : ''} step={type === 'number' ? 'any' : undefined}
      min={schema.minimum} max={schema.maximum} maxLength={schema.maxLength} autoComplete="off" onChange={event => set(path, parse(event.target.value))} />
  )
  if (type === 'object' && schema.properties) {
    return (
      <fieldset className="parts"><legend>{name}{!required && <small> optional</small>}</legend>
        <Fields schema={schema} root={root} value={value} path={path} jsonPath={jsonPath} faults={faults} set={set} />{bad}
      </fieldset>
    )
  }
  if (type === 'array') {
    const items = Array.isArray(value) ? value as unknown[] : []
    return (
      <fieldset className="parts"><legend>{name} <small>{items.length}</small></legend>
        {items.map((item, i) => <Field key={i} name={`${name}[${i}]`} schema={schema.items ?? {}} root={root} value={item} path={[...path, i]} jsonPath={`${jsonPath}[${i}]`} required faults={faults} set={set} remove={() => set([...path, i], undefined)} />)}
        {bad}<div><button type="button" className="btn" onClick={() => set([...path, items.length], blank(schema.items ?? {}, root) ?? (mainType(resolve(schema.items, root)) === 'string' ? '' : null))}><Icon name="plus" />Add</button></div>
      </fieldset>
    )
  }
  let control: ReactNode
  if (schema.enum) control = <select {...common} className="input" value={value === undefined ? '' : JSON.stringify(value)} onChange={event => set(path, event.target.value === '' ? undefined : JSON.parse(event.target.value) as unknown)}><option value="" />{schema.enum.map(each => <option key={String(each)} value={JSON.stringify(each)}>{String(each)}</option>)}</select>
  else if (type === 'boolean') control = <select {...common} className="input" value={value === undefined ? '' : String(value)} onChange={event => set(path, event.target.value === '' ? undefined : event.target.value === 'true')}><option value="" /><option value="true">yes</option><option value="false">no</option></select>
  else if (type === 'integer' || type === 'number') control = text('number', given => (given === '' ? undefined : Number(given)))
  else if (type === 'string') {
    const kind = schema.format === 'date' ? 'date' : schema.format === 'time' ? 'time' : schema.format === 'email' ? 'email' : 'text'
    control = text(kind, given => (given === '' ? (nullable(schema) || !required ? undefined : '') : given))
  } else control = <RawJson {...common} value={value} onChange={next => set(path, next)} />
  return <div className="field">{label}{control}{bad}</div>
}

function RawJson({ value, onChange, ...rest }: { value: unknown; onChange: (value: unknown) => void; id: string }) {
  const [text, setText] = useState(value === undefined ? '' : JSON.stringify(value))
  return <textarea {...rest} className="input mono" rows={2} spellCheck={false} placeholder="JSON" value={text} onChange={event => { setText(event.target.value); try { onChange(event.target.value === '' ? undefined : JSON.parse(event.target.value)) } catch { onChange(event.target.value) } }} />
}

export function Fields({ schema, root, value, path, jsonPath, faults, set }: { schema: Schema; root: Schema; value: unknown; path: (string | number)[]; jsonPath: string; faults: readonly Fault[]; set: (path: (string | number)[], value: unknown) => void }) {
  const at = resolve(schema, root)
  const given = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  return <>{Object.entries(at.properties ?? {}).map(([name, part]) => <Field key={name} name={name} schema={part} root={root} value={given[name]} path={[...path, name]} jsonPath={`${jsonPath}.${name}`} required={at.required?.includes(name) ?? false} faults={faults} set={set} />)}</>
}

const idPattern = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/

export function StartForm({ definition, like, focus }: { definition: Definition; like: string | null; focus: boolean }) {
  const schema = (definition.inputSchema ?? {}) as Schema
  const drawable = mainType(resolve(schema, schema)) === 'object' && Object.keys(resolve(schema, schema).properties ?? {}).length > 0
  const [mode, setMode] = useState<'form' | 'json'>(drawable ? 'form' : 'json')
  const [value, setValue] = useState<unknown>(() => blank(schema, schema) ?? {})
  const [json, setJson] = useState('')
  const [jsonFault, setJsonFault] = useState<string | null>(null)
  const [id, setId] = useState('')
  const [tags, setTags] = useState('')
  const [priority, setPriority] = useState('')
  const [tried, setTried] = useState(false)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<Error | null>(null)
  const form = useRef<HTMLFormElement>(null)
  const model = useQuery({ queryKey: ['like', like], enabled: like !== null, staleTime: Infinity, queryFn: ({ signal }) => ask(api.GET('/api/v1/sagas/{id}', { params: { path: { id: like! } }, signal })) })
  useEffect(() => {
    if (!model.data) return
    setValue(model.data.input)
    setJson(JSON.stringify(model.data.input, null, 2))
    setTags(Object.entries(model.data.tags).map(([key, tag]) => `${key}=${tag}`).join(' '))
  }, [model.data])
  useEffect(() => { if (focus) form.current?.querySelector<HTMLElement>('input, select, textarea')?.focus() }, [focus])

  const given = tags.split(/[\s,]+/).filter(Boolean).map(tag => tag.replace('=', ':'))
  const faults = useMemo(() => {
    const all = mode === 'form' ? check(schema, value) : []
    if (id !== '' && !idPattern.test(id)) all.push({ path: 'id', message: 'Letters, digits and . _ : - only, 128 at most' })
    if (given.some(tag => !/^[^:]{1,64}:.{0,256}$/.test(tag))) all.push({ path: 'tags', message: 'As key=value' })
    return all
    // eslint-disable-next-line -- tags are read through `given`
  }, [mode, schema, value, id, tags]) // given is made of tags
  const fromServer: Fault[] = error instanceof ApiError && error.problem?.path ? [{ path: error.problem.path, message: error.message }] : []
  const shown = tried ? [...faults, ...fromServer] : fromServer

  const switchTo = (next: 'form' | 'json') => {
    if (next === 'json') { setJson(JSON.stringify(value, null, 2)); setJsonFault(null); setMode('json') }
    else try { setValue(JSON.parse(json || '{}')); setJsonFault(null); setMode('form') } catch (fault) { setJsonFault(asError(fault).message) }
  }
  const input = (): unknown => (mode === 'json' ? JSON.parse(json || '{}') : value)
  const query = new URLSearchParams({ ...(id === '' ? {} : { id }), version: String(definition.version), ...(priority === '' ? {} : { priority }) })
  for (const tag of given) query.append('tag', tag)
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    setTried(true)
    setError(null)
    let body: unknown
    try { body = input() } catch (fault) { setJsonFault(asError(fault).message); return }
    if (faults.length > 0) { setTimeout(() => form.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus()); return }
    setBusy(true)
    try {
      const saga = await ask(api.POST('/api/v1/definitions/{name}/sagas', {
        params: { path: { name: definition.name }, query: { version: definition.version, ...(id === '' ? {} : { id }), ...(given.length === 0 ? {} : { tag: given }), ...(priority === '' ? {} : { priority: Number(priority) }) } }, body: body as never,
      }))
      go(to(['sagas', saga.id]))
    } catch (fault) {
      setError(asError(fault))
      setBusy(false)
    }
  }
  const bad = (path: string) => shown.find(each => each.path === path)?.message
  const mend = new Set(shown.map(each => each.path)).size
  return (
    <section className="card" id="start" aria-label="Start a saga">
      <header><h2>Start a saga</h2><small>v{definition.version}</small><span className="grow" />{drawable && <Segments label="Input as" value={mode} onChange={switchTo} options={[['form', 'Form'], ['json', 'JSON']]} />}</header>
      <form className="form pad" ref={form} onSubmit={event => void submit(event)} noValidate>
        {mode === 'form'
          ? <Fields schema={schema} root={schema} value={value} path={[]} jsonPath="$" faults={shown} set={(path, part) => setValue((old: unknown) => put(old, path, part))} />
          : <label className="field"><span>Input <small>JSON</small></span><textarea className="input mono" rows={10} spellCheck={false} value={json} aria-invalid={jsonFault !== null} onChange={event => { setJson(event.target.value); setJsonFault(null) }} placeholder="{}" />{jsonFault && <span className="bad"><Icon name="error" />{jsonFault}</span>}</label>}
        <div className="two">
          <label className="field"><span>Saga id <small>made if empty</small></span><input className="input mono" value={id} aria-invalid={bad('id') !== undefined} onChange={event => setId(event.target.value)} />{bad('id') && <span className="bad">{bad('id')}</span>}</label>
          <label className="field"><span>Priority <small>0 to 9</small></span><input className="input mono" type="number" min={0} max={9} placeholder="5" value={priority} onChange={event => setPriority(event.target.value)} /></label>
        </div>
        <label className="field"><span>Tags <small>key=value, with spaces between</small></span><input className="input mono" value={tags} aria-invalid={bad('tags') !== undefined} onChange={event => setTags(event.target.value)} />{bad('tags') && <span className="bad">{bad('tags')}</span>}</label>
        {error && fromServer.length === 0 && <p className="bad" role="alert"><Icon name="error" />{error.message}</p>}
        {fromServer.length > 0 && mode === 'json' && <p className="bad" role="alert"><Icon name="error" />{error!.message}</p>}
        <div className="row"><button type="submit" className="btn primary" disabled={busy}>{busy ? 'Starting…' : 'Start'}</button>
          <Copy text={() => { let body: unknown = {}; try { body = input() } catch { /* as far as it goes */ } return curl('POST', `/api/v1/definitions/${encodeURIComponent(definition.name)}/sagas?${query}`, body) }} label="Copy as curl">Copy as curl</Copy>
          <span className="grow" />{mend > 0 && <small role="status">{mend} field{mend === 1 ? '' : 's'} to mend</small>}</div>
      </form>
    </section>
  )
}
