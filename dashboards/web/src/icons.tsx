import type { JSX } from 'react'

// Rings still move, discs have ended, the octagon needs a person, the square was ended by one; the arrow inside points the way it goes.
const shapes = {
  back: <><path d="M13 8H3.6M7 4.4 3.4 8 7 11.6"/></>,
  check: <><path d="m3.4 8.6 3 3 6.2-7"/></>,
  compensated: <><circle cx="8" cy="8" r="6.25" fill="currentColor"/><path d="M11 8H5.4M7.8 5.6 5.4 8l2.4 2.4" stroke="var(--surface)" strokeWidth="1.6"/></>,
  compensating: <><circle cx="8" cy="8" r="6.25"/><path d="M11 8H5.4M7.8 5.6 5.4 8l2.4 2.4"/></>,
  completed: <><circle cx="8" cy="8" r="6.25" fill="currentColor"/><path d="m5.2 8.2 2 2 3.7-4.2" stroke="var(--surface)" strokeWidth="1.7"/></>,
  confirming: <><circle cx="8" cy="8" r="6.25"/><path d="M4.9 5.6 7.3 8l-2.4 2.4M8.5 5.6 10.9 8l-2.4 2.4"/></>,
  copy: <><rect x="5.5" y="5.5" width="8" height="8" rx="1.5"/><path d="M10.5 3.2A1 1 0 0 0 9.8 2.5H3.5a1 1 0 0 0-1 1v6.3a1 1 0 0 0 .7.9"/></>,
  dots: <><path d="M3.5 8h.1M8 8h.1M12.5 8h.1" strokeWidth="2.2"/></>,
  down: <><path d="m4.5 6.5 3.5 3.5 3.5-3.5"/></>,
  error: <><path d="M8 1.9 14.1 8 8 14.1 1.9 8Z"/><path d="M8 5.3v3M8 10.6v.1"/></>,
  failed: <><path d="M8 1.4 14.6 8 8 14.6 1.4 8Z" fill="currentColor"/><path d="M8 5v3.4M8 10.9v.1" stroke="var(--surface)" strokeWidth="1.7"/></>,
  flag: <><path d="M4 14V2.5h8L10 5.5l2 3H4"/></>,
  fwd: <><path d="M3 8h9.4M9 4.4 12.6 8 9 11.6"/></>,
  graph: <><rect x="1.8" y="5.8" width="4.4" height="4.4" rx="1"/><rect x="9.8" y="2" width="4.4" height="4.4" rx="1"/><rect x="9.8" y="9.6" width="4.4" height="4.4" rx="1"/><path d="M6.2 8h1.6V4.2h2M7.8 8v3.8h2"/></>,
  link: <><path d="M9.5 2.5h4v4M13.2 2.8 7.5 8.5M11.5 9.5v3a1 1 0 0 1-1 1h-7a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1h3"/></>,
  list: <><path d="M2.5 4h11M2.5 8h11M2.5 12h11"/></>,
  next: <><path d="M5 3.2 11.5 8 5 12.8ZM12.5 3.2v9.6"/></>,
  no: <><path d="m4 4 8 8m0-8-8 8"/></>,
  nodes: <><rect x="2" y="2.6" width="12" height="4.4" rx="1"/><rect x="2" y="9" width="12" height="4.4" rx="1"/><path d="M4.6 4.8h.1M4.6 11.2h.1"/></>,
  ops: <><path d="M2.5 4.5h6M11.5 4.5h2M2.5 11.5h2M7.5 11.5h6"/><circle cx="10" cy="4.5" r="1.5"/><circle cx="6" cy="11.5" r="1.5"/></>,
  overview: <><path d="M2.5 13.5v-4M6.2 13.5v-8M9.8 13.5V8M13.5 13.5v-11"/></>,
  paused: <><path d="M5.6 3.5v9M10.4 3.5v9" strokeWidth="2.2"/></>,
  pending: <><circle cx="8" cy="8" r="6.25" strokeDasharray="2.2 2.7"/></>,
  play: <><path d="M5 3.2 12.5 8 5 12.8Z" fill="currentColor"/></>,
  plus: <><path d="M8 3.2v9.6M3.2 8h9.6"/></>,
  prev: <><path d="M11 3.2 4.5 8l6.5 4.8ZM3.5 3.2v9.6"/></>,
  refused: <><circle cx="8" cy="8" r="6.25" fill="currentColor"/><path d="m5.8 5.8 4.4 4.4m0-4.4-4.4 4.4" stroke="var(--surface)" strokeWidth="1.6"/></>,
  retry: <><path d="M13.2 8a5.2 5.2 0 1 1-1.6-3.8M13.4 2v2.8h-2.8"/></>,
  right: <><path d="m6.5 4.5 3.5 3.5-3.5 3.5"/></>,
  running: <><circle cx="8" cy="8" r="6.25"/><path d="M5 8h5.6M8.2 5.6 10.6 8l-2.4 2.4"/></>,
  search: <><circle cx="7" cy="7" r="4.5"/><path d="m10.4 10.4 3.4 3.4"/></>,
  shield: <><path d="M8 1.8 13.2 4v4.2c0 3-2.2 5-5.2 6-3-1-5.2-3-5.2-6V4Z"/></>,
  skipped: <><circle cx="8" cy="8" r="6.25"/><path d="m4 12 8-8"/></>,
  stuck: <><path d="M5.4 1.75h5.2l3.65 3.65v5.2l-3.65 3.65H5.4L1.75 10.6V5.4Z" fill="currentColor"/><path d="M8 4.8v3.6M8 11v.1" stroke="var(--surface)" strokeWidth="1.8"/></>,
  terminated: <><rect x="2.25" y="2.25" width="11.5" height="11.5" rx="2" fill="currentColor"/><path d="M5.5 8h5" stroke="var(--surface)" strokeWidth="1.8"/></>,
  theme: <><circle cx="8" cy="8" r="6.25"/><path d="M8 1.75a6.25 6.25 0 0 1 0 12.5Z" fill="currentColor"/></>,
  tried: <><circle cx="8" cy="8" r="6.25"/><path d="M1.75 8a6.25 6.25 0 0 1 12.5 0Z" fill="currentColor"/></>,
  unknown: <><circle cx="8" cy="8" r="6.25"/><path d="M6.2 6.3a1.85 1.85 0 1 1 2.6 1.8c-.5.3-.8.6-.8 1.2M8 11.4v.1"/></>,
  up: <><path d="m4.5 9.5 3.5-3.5 3.5 3.5"/></>,
  uturn: <><path d="M4 12h5.2a3.6 3.6 0 0 0 0-7.2H3.4M6 2 3.2 4.8 6 7.6"/></>,
  waiting: <><circle cx="8" cy="8" r="6.25"/><path d="M8 4.4V8l2.3 1.6"/></>,
  warn: <><path d="M8 2.2 14.3 13H1.7Z"/><path d="M8 6.4v3M8 11.2v.1"/></>,
  x: <><path d="m4 4 8 8m0-8-8 8"/></>,
  minus: <><path d="M3.2 8h9.6" /></>,
} satisfies Record<string, JSX.Element>

export type IconName = keyof typeof shapes

/** A sign of the vocabulary. Without a label it is decoration: the words beside it say the same. */
export function Icon({ name, tone, label }: { name: IconName; tone?: string; label?: string }) {
  return <svg className="i" viewBox="0 0 16 16" data-p={tone} role={label ? 'img' : undefined} aria-label={label} aria-hidden={label ? undefined : true}>{shapes[name]}</svg>
}
