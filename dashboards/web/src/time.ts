// Times and durations in words. Ages are told by the server's clock: a browser's may be minutes off.
import type { TimeMode } from './prefs'

let skew = 0

/** The Date header has whole seconds, so only a real difference counts. */
export function heardServerTime(date: string | null) {
  const server = date === null ? Number.NaN : Date.parse(date)
  if (Number.isNaN(server)) return
  const difference = server - Date.now()
  skew = Math.abs(difference) > 2000 ? difference : 0
}

/** Now, by the server's clock; milliseconds since 1970. */
export const now = () => Date.now() + skew

/** 118 ms, 2.41 s, 31.0 s, 8 m 5 s, 1 h 11 m, 3 d 4 h. */
export function duration(ms: number): string {
  if (ms < 0) return `−${duration(-ms)}`
  if (ms < 1000) return `${Math.round(ms)} ms`
  const s = ms / 1000
  if (s < 10) return `${s.toFixed(2)} s`
  if (s < 60) return `${s.toFixed(1)} s`
  const parts = (big: number, bigUnit: string, small: number, smallUnit: string) => (small ? `${big} ${bigUnit} ${small} ${smallUnit}` : `${big} ${bigUnit}`)
  if (s < 3600) return parts(Math.floor(s / 60), 'm', s < 600 ? Math.floor(s % 60) : 0, 's')
  if (s < 86400) return parts(Math.floor(s / 3600), 'h', Math.floor((s % 3600) / 60), 'm')
  return parts(Math.floor(s / 86400), 'd', Math.floor((s % 86400) / 3600), 'h')
}

/** A configured duration, as it was written: 5 s, 200 ms, 30 s. */
export const exact = (ms: number) => duration(ms).replace(/\.(\d*?)0+ s$/, (_, digits: string) => (digits ? `.${digits} s` : ' s'))

/** An age that is looked at while it grows: no finer than whole seconds. */
export const age = (ms: number) => (ms < 60_000 ? `${Math.max(0, Math.floor(ms / 1000))} s` : duration(ms))

/** An ISO 8601 duration of the API, PT0.2S or P1DT2H, in milliseconds; null when it is none. */
export function isoDuration(text: string | null | undefined): number | null {
  const match = /^(-)?P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?)?$/.exec(text ?? '')
  if (!match) return null
  const [, minus, d, h, m, s] = match
  return (minus ? -1 : 1) * (Number(d ?? 0) * 86400 + Number(h ?? 0) * 3600 + Number(m ?? 0) * 60 + Number(s ?? 0)) * 1000
}

/** A moment as the reader likes to read it: a clock of here, one of Greenwich, or how long ago. */
export function moment(at: number, mode: TimeMode, from: number, millis = false): string {
  if (mode === 'relative') {
    const past = from - at
    return past < -500 ? `in ${age(-past)}` : past < 1000 ? 'now' : `${age(past)} ago`
  }
  const utc = mode === 'utc'
  const date = (time: number) => (utc ? new Date(time).toISOString().slice(0, 10) : localDate(new Date(time)))
  const d = new Date(at)
  const clock = utc ? d.toISOString().slice(11, millis ? 23 : 19) : `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}${millis ? `.${String(d.getMilliseconds()).padStart(3, '0')}` : ''}`
  return (date(at) === date(from) ? clock : `${date(at).slice(5)} ${clock}`) + (utc ? 'Z' : '')
}

const two = (n: number) => String(n).padStart(2, '0')
const localDate = (d: Date) => `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`

/** 1.2M, 18.2k, 311. */
export function count(n: number): string {
  if (n < 10_000) return n.toLocaleString('en')
  if (n < 999_950) return `${(n / 1000).toFixed(n < 99_950 ? 1 : 0)}k`
  return `${(n / 1_000_000).toFixed(n < 99_950_000 ? 1 : 0)}M`
}
