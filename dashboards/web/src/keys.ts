// Keys: screens say which they take; nothing is taken while somebody writes.
import { useEffect, useRef } from 'react'

export type Keys = Record<string, (event: KeyboardEvent) => void>

const stack: { current: Keys }[] = []
let first: string | null = null
let firstTimer: ReturnType<typeof setTimeout> | undefined

const writes = (target: EventTarget | null) => target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && !(target instanceof HTMLInputElement && /^(checkbox|radio|range)$/.test(target.type)))

function pressed(event: KeyboardEvent) {
  if (event.defaultPrevented || event.isComposing) return
  const combined = `${event.ctrlKey || event.metaKey ? 'Ctrl+' : ''}${event.key.length === 1 ? event.key.toLowerCase() : event.key}`
  if (event.altKey || (writes(event.target) && combined !== 'Ctrl+k')) return
  // A dialog, a menu or a list of choices has the keyboard to itself.
  if (document.querySelector('[role="dialog"], [role="menu"]') && combined !== 'Ctrl+k') return
  const name = first === null ? combined : `${first} ${combined}`
  clearTimeout(firstTimer)
  first = null
  for (const keys of [...stack].reverse()) {
    const action = keys.current[name]
    if (action) {
      event.preventDefault()
      action(event)
      return
    }
  }
  if (name === 'g') {
    first = 'g'
    firstTimer = setTimeout(() => { first = null }, 1200)
  }
}

if (typeof document !== 'undefined') document.addEventListener('keydown', pressed)

/** Takes keys while mounted; whoever came last goes first. `g s` is g, then s. */
export function useKeys(keys: Keys) {
  const latest = useRef(keys)
  useEffect(() => { latest.current = keys })
  useEffect(() => {
    stack.push(latest)
    return () => { stack.splice(stack.indexOf(latest), 1) }
  }, [])
}
