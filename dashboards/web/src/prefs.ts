// What this browser remembers. Nothing here is needed: a browser that forgets it, or forbids it, gets the defaults.
import { useSyncExternalStore } from 'react'

export type TimeMode = 'local' | 'utc' | 'relative'
export type Theme = 'system' | 'light' | 'dark'
interface Prefs { theme: Theme; times: TimeMode; operator: string; hiddenColumns: string[] }

const key = 'sagas.prefs'
const defaults: Prefs = { theme: 'system', times: 'local', operator: '', hiddenColumns: [] }
const listeners = new Set<() => void>()
let prefs = read()

function read(): Prefs {
  try {
    return { ...defaults, ...(JSON.parse(localStorage.getItem(key) ?? '{}') as Partial<Prefs>) }
  } catch {
    return defaults
  }
}

export function setPrefs(change: Partial<Prefs>) {
  prefs = { ...prefs, ...change }
  try {
    localStorage.setItem(key, JSON.stringify(prefs))
  } catch {
    // Private windows may forbid it; the choice then lasts as long as the page.
  }
  if (change.theme) applyTheme()
  for (const listener of listeners) listener()
}

export function usePrefs(): Prefs {
  return useSyncExternalStore(listener => (listeners.add(listener), () => listeners.delete(listener)), () => prefs)
}

export const operator = () => prefs.operator

export function applyTheme() {
  if (prefs.theme === 'system') delete document.documentElement.dataset['theme']
  else document.documentElement.dataset['theme'] = prefs.theme
}

/** Whether the page is dark now, whoever decided it. */
export const isDark = () => (prefs.theme === 'system' ? matchMedia('(prefers-color-scheme: dark)').matches : prefs.theme === 'dark')
