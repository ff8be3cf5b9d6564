// What an operator may do. Each action says first what it will do, wants a reason, and then shows what it did, read back from the history.
import { useQueryClient } from '@tanstack/react-query'
import { useEffect, useRef, useState, type FormEvent, type ReactNode } from 'react'
import { api, ApiError, ask, type HistoryEntry, type Saga, type Summary } from './api'
import { refresh } from './data'
import { isEnded } from './filters'
import { Icon, type IconName } from './icons'
import { setPrefs, usePrefs } from './prefs'
import { Dialog, Json, Status, StepSign, waits } from './parts'
import { HistoryLine } from './history'

export type Act = 'retry' | 'cancel' | 'pause' | 'resume' | 'terminate'
export type Doing = { act: Act; sagas: Target[] } | { act: 'resolve'; saga: Saga; step: string }

/** As much of a saga as an action needs to know. */
type Target = Pick<Summary, 'id' | 'status' | 'paused' | 'committed' | 'nextAttemptAt' | 'step' | 'waitingFor'>

export const acts: Record<Act, { word: string; icon: IconName; danger?: true }> = {
  retry: { word: 'Retry now', icon: 'retry' }, cancel: { word: 'Cancel', icon: 'back' }, pause: { word: 'Pause', icon: 'paused' },
  resume: { word: 'Resume', icon: 'play' }, terminate: { word: 'Terminate', icon: 'terminated', danger: true },
}

/** Why an action does not fit a saga as it stands; null: it does. The server has the last word. */
export function unfit(act: Act, saga: Target): string | null {
  if (isEnded(saga.status)) return 'it has ended'
  switch (act) {
    case 'retry': return saga.nextAttemptAt === null ? 'nothing waits for a next attempt' : null
    case 'cancel': return saga.committed ? 'it has passed its commit point' : null
    case 'pause': return saga.paused ? 'it is paused already' : null
    case 'resume': return saga.paused ? null : 'it is not paused'
    case 'terminate': return null
  }
}

export const willDo: Record<Act, (many: boolean) => ReactNode> = {
  retry: many => <>Sends the next attempt of every step that waits for one <b>at once</b>, not when it is due. Nothing else changes{many ? ' in any of them' : ''}.</>,
  cancel: many => <>Turns {many ? 'each saga' : 'the saga'} back: every try that may have been sent is cancelled and every do that may have been sent is compensated, in reverse order, until all is undone. <b>It cannot be turned forward again.</b></>,
  pause: many => <>Nothing new is sent for {many ? 'these sagas' : 'this saga'} until somebody resumes {many ? 'them' : 'it'}. Answers that are on their way are still taken.</>,
  resume: many => <>{many ? 'They go' : 'It goes'} on where {many ? 'they were' : 'it was'} held.</>,
  terminate: many => <>Ends {many ? 'each saga' : 'the saga'} <b>where it stands, half done</b>. What is held stays held, what is done stays done: nobody will confirm or undo it. For what cannot be mended in any other way.</>,
}

const call = (act: Act, id: string, reason: string) => {
  const options = { params: { path: { id } }, body: { reason } }
  switch (act) {
    case 'retry': return ask(api.POST('/api/v1/sagas/{id}/retry', options))
    case 'cancel': return ask(api.POST('/api/v1/sagas/{id}/cancel', options))
    case 'pause': return ask(api.POST('/api/v1/sagas/{id}/pause', options))
    case 'resume': return ask(api.POST('/api/v1/sagas/{id}/resume', options))
    case 'terminate': return ask(api.POST('/api/v1/sagas/{id}/terminate', options))
  }
}

export function ActionDialog({ doing, close }: { doing: Doing | null; close: () => void }) {
  if (doing === null) return null
  if (doing.act === 'resolve') return <ResolveDialog key={doing.step} saga={doing.saga} step={doing.step} close={close} />
  return doing.sagas.length === 1 ? <OneDialog act={doing.act} saga={doing.sagas[0]!} close={close} /> : <ManyDialog act={doing.act} sagas={doing.sagas} close={close} />
}

/** Reason and name, and the button that does it. */
export function ReasonForm({ word, icon, danger = false, busy, error, focus = true, kept = 'in the history', children, onDo }:
  { word: string; icon: IconName; danger?: boolean; busy: boolean; error: Error | null; focus?: boolean; kept?: string; children?: ReactNode; onDo: (reason: string) => void }) {
  const { operator } = usePrefs()
  const [reason, setReason] = useState('')
  const [asked, setAsked] = useState(false)
  const field = useRef<HTMLTextAreaElement>(null)
  const missing = asked && reason.trim() === ''
  useEffect(() => { if (focus) field.current?.focus() }, [focus])
  const submit = (event: FormEvent) => {
    event.preventDefault()
    setAsked(true)
    if (reason.trim() === '') field.current?.focus()
    else onDo(reason.trim())
  }
  return (
    <form className="form pad" onSubmit={submit} noValidate>
      {children}
      <label className="field"><span>Reason <small>kept {kept}</small></span>
        <textarea ref={field} className="input" rows={2} maxLength={1000} value={reason} aria-invalid={missing} required onChange={event => setReason(event.target.value)}
          onKeyDown={event => { if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) event.currentTarget.form?.requestSubmit() }} />
        {missing && <span className="bad"><Icon name="error" />Say why: whoever reads the history later will want to know.</span>}
      </label>
      <label className="field"><span>You are <small>optional, remembered in this browser</small></span>
        <input className="input" maxLength={128} autoComplete="name" value={operator} placeholder="anonymous" onChange={event => setPrefs({ operator: event.target.value.replace(/[^\x20-\x7e]/g, '') })} />
      </label>
      {error && <p className="bad" role="alert"><Icon name="error" />{error.message}</p>}
      <div className="row"><span className="grow" /><button type="submit" className={danger ? 'btn primary danger' : 'btn primary'} disabled={busy}><Icon name={icon} />{busy ? 'Asking…' : word}</button></div>
    </form>
  )
}

function OneDialog({ act, saga, close }: { act: Act; saga: Target; close: () => void }) {
  const { word, icon, danger = false } = acts[act]
  const [done, setDone] = useState<number | null>(null)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<Error | null>(null)
  const client = useQueryClient()
  const run = async (reason: string) => {
    setBusy(true)
    setError(null)
    try {
      const before = (await refresh(client, saga.id)).history.at(-1)?.seq ?? 0
      await call(act, saga.id, reason)
      setDone(before)
    } catch (fault) {
      setError(asError(fault))
    }
    setBusy(false)
  }
  return (
    <Dialog open close={close} title={<>{word}: <span className="id">{saga.id}</span></>}>
      {done === null
        ? <ReasonForm word={word} icon={icon} danger={danger} busy={busy} error={error} onDo={reason => void run(reason)}><p className="soft">{willDo[act](false)}{act === 'retry' && saga.step && <> It waits for the {waits(saga.waitingFor)}.</>}</p></ReasonForm>
        : <Effect id={saga.id} after={done} close={close} />}
    </Dialog>
  )
}

/** What came of it: the saga as it stands and everything its history got since, until it rests. */
export function Effect({ id, after, close }: { id: string; after: number; close: () => void }) {
  const client = useQueryClient()
  const [saga, setSaga] = useState<Saga | null>(null)
  const [entries, setEntries] = useState<HistoryEntry[]>([])
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    let over = false
    const look = async () => {
      try {
        const now = await refresh(client, id)
        if (over) return
        setSaga(now.saga)
        setEntries(now.history.filter(entry => entry.seq > after))
        if (isEnded(now.saga.status)) return
      } catch {
        // Asked again: the dialog says what it last heard.
      }
      if (!over) timer = setTimeout(() => void look(), 500)
    }
    void look()
    return () => { over = true; clearTimeout(timer) }
  }, [client, id, after])
  const shown = entries.slice(0, 40)
  const open = saga !== null && !isEnded(saga.status)
  return (
    <div className="effect">
      <div className="pad row wrap" role="status"><b>Done.</b>{saga && <>The saga is <Status status={saga.status} />{saga.paused && <span className="flag">paused</span>}{open && saga.waitingFor && <small>waits for {waits(saga.waitingFor)}</small>}</>}</div>
      <table className="cards hist" aria-label="What it did"><tbody>{shown.map(entry => <HistoryLine key={entry.seq} entry={entry} started={null} short />)}</tbody></table>
      {entries.length > shown.length && <p className="pad soft">and {entries.length - shown.length} more in the history</p>}
      <div className="pad row">{open && <small>What follows appears here as it happens.</small>}<span className="grow" /><button type="button" className="btn primary" onClick={close}>Close</button></div>
    </div>
  )
}

interface Outcome { saga: Target; fault: string | null; now: Saga | null }

function ManyDialog({ act, sagas, close }: { act: Act; sagas: Target[]; close: () => void }) {
  const { word, icon, danger = false } = acts[act]
  const fit = sagas.filter(saga => unfit(act, saga) === null)
  const not = sagas.filter(saga => unfit(act, saga) !== null)
  const [outcomes, setOutcomes] = useState<Outcome[] | null>(null)
  const [finished, setFinished] = useState(false)
  const run = async (reason: string) => {
    const done: Outcome[] = []
    setOutcomes([])
    const queue = [...fit]
    const worker = async () => {
      for (let saga = queue.shift(); saga; saga = queue.shift()) {
        try {
          done.push({ saga, fault: null, now: await call(act, saga.id, reason) })
        } catch (fault) {
          done.push({ saga, fault: asError(fault).message, now: null })
        }
        setOutcomes([...done])
      }
    }
    await Promise.all([worker(), worker(), worker(), worker()])
    setFinished(true)
    // How they stand a moment later is what was done; "accepted" is not.
    for (let round = 0; round < 10; round++) {
      await new Promise(resolve => setTimeout(resolve, 700))
      const open = done.filter(outcome => outcome.now && !isEnded(outcome.now.status))
      if (open.length === 0) break
      await Promise.all(open.slice(0, 100).map(async outcome => {
        try { outcome.now = await ask(api.GET('/api/v1/sagas/{id}', { params: { path: { id: outcome.saga.id } } })) } catch { /* as it was last heard of */ }
      }))
      setOutcomes([...done])
    }
  }
  const failed = outcomes?.filter(outcome => outcome.fault !== null) ?? []
  const stands = Map.groupBy(outcomes?.filter(outcome => outcome.now) ?? [], outcome => outcome.now!.status)
  return (
    <Dialog open close={close} title={`${word}: ${fit.length} of ${sagas.length} sagas`} wide>
      {outcomes === null
        ? <ReasonForm word={`${word} ${fit.length}`} icon={icon} danger={danger} busy={fit.length === 0} error={null} onDo={reason => void run(reason)}>
            <p className="soft">{willDo[act](true)}</p>
            {not.length > 0 && <p className="soft">Left out: {[...Map.groupBy(not, saga => unfit(act, saga)!)].map(([why, them]) => `${them.length === 1 ? them[0]!.id : `${them.length} sagas`}, because ${why}`).join('; ')}.</p>}
          </ReasonForm>
        : <div className="effect">
            <div className="pad"><progress max={fit.length} value={outcomes.length} aria-label="Progress" /><p role="status"><b>{outcomes.length - failed.length} of {fit.length} accepted</b>{failed.length > 0 && <span className="bad">, {failed.length} refused</span>}{finished ? '. They stand now at:' : '…'}</p>
              <p className="row wrap">{[...stands].map(([status, them]) => <span key={status} className="row"><Status status={status} /><b>{them.length}</b></span>)}</p></div>
            {failed.length > 0 && <ul className="pad faults">{failed.slice(0, 20).map(({ saga, fault }) => <li key={saga.id}><span className="id">{saga.id}</span> <span className="soft">{fault}</span></li>)}</ul>}
            <div className="pad row"><span className="grow" /><button type="button" className="btn primary" disabled={!finished} onClick={close}>Close</button></div>
          </div>}
    </Dialog>
  )
}

function ResolveDialog({ saga, step: name, close }: { saga: Saga; step: string; close: () => void }) {
  const step = saga.steps.find(each => each.name === name)!
  const phase = step.phase ?? 'do'
  const second = phase === 'confirm' || phase === 'cancel' || phase === 'compensate'
  const [outcome, setOutcome] = useState<'done' | 'notDone'>('done')
  const [result, setResult] = useState('')
  const [done, setDone] = useState<number | null>(null)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<Error | null>(null)
  const client = useQueryClient()
  const run = async (reason: string) => {
    let value: unknown
    if (outcome === 'done' && result.trim() !== '') {
      try { value = JSON.parse(result) } catch (fault) { setError(new Error(`The result is not JSON: ${asError(fault).message}`)); return }
    }
    setBusy(true)
    setError(null)
    try {
      const before = (await refresh(client, saga.id)).history.at(-1)?.seq ?? 0
      await ask(api.POST('/api/v1/sagas/{id}/steps/{step}/resolve', { params: { path: { id: saga.id, step: name } }, body: { outcome, reason, ...(value === undefined ? {} : { result: value }) } }))
      setDone(before)
    } catch (fault) {
      setError(asError(fault))
    }
    setBusy(false)
  }
  return (
    <Dialog open close={close} title={<>Resolve {name}</>}>
      {done !== null ? <Effect id={saga.id} after={done} close={close} /> : (
        <ReasonForm word={outcome === 'done' ? 'It is done' : 'It is not done'} icon={outcome === 'done' ? 'check' : 'no'} danger={outcome === 'notDone' && second} busy={busy} error={error} onDo={reason => void run(reason)}>
          <p className="soft">Your word stands in for the participant’s answer to the {phase} of <b>{name}</b> (<StepSign status={step.status} stuck={step.stuck} />). Look there first: the engine takes your word and asks no more.</p>
          <fieldset className="choice"><legend>What became of it?</legend>
            <label><input type="radio" name="outcome" checked={outcome === 'done'} onChange={() => setOutcome('done')} /><span><b>It took effect.</b> <small>The saga goes on as after a success.</small></span></label>
            <label><input type="radio" name="outcome" checked={outcome === 'notDone'} onChange={() => setOutcome('notDone')} /><span><b>It did not, and will not.</b> <small>{second ? 'The saga ends at once, Terminated and mixed: some of it is kept and some is not.' : 'Taken as a refusal: the saga turns back if it still can.'}</small></span></label>
          </fieldset>
          {outcome === 'done' && !second && <label className="field"><span>Result <small>JSON, if later steps read it</small></span><textarea className="input mono" rows={3} spellCheck={false} value={result} onChange={event => setResult(event.target.value)} /></label>}
          {step.error && <details><summary>Its last error</summary><Json value={step.error} label="Last error" /></details>}
        </ReasonForm>)}
    </Dialog>
  )
}

export const asError = (fault: unknown): Error => (fault instanceof ApiError || fault instanceof Error ? fault : new Error(String(fault)))
