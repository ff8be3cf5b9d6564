import '@xyflow/react/dist/base.css'
import 'uplot/dist/uPlot.min.css'
import './tokens.css'
import './app.css'
import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { lazy, StrictMode, Suspense } from 'react'
import { createRoot } from 'react-dom/client'
import { ApiError } from './api'
import { Empty } from './parts'
import { applyTheme } from './prefs'
import { useRoute } from './route'
import { SagaScreen } from './saga'
import { Sagas } from './sagas'
import { Shell } from './shell'

const Failures = lazy(() => import('./failures').then(m => ({ default: m.Failures })))
const Overview = lazy(() => import('./overview').then(m => ({ default: m.Overview })))
const Definitions = lazy(() => import('./definitions').then(m => ({ default: m.Definitions })))
const Waiting = lazy(() => import('./waiting').then(m => ({ default: m.Waiting })))
const Nodes = lazy(() => import('./nodes').then(m => ({ default: m.Nodes })))
const Operations = lazy(() => import('./operations').then(m => ({ default: m.Operations })))

const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 1000, refetchOnWindowFocus: true,
      // What the server refuses it refuses again; what it did not answer is worth another try.
      retry: (times, error) => times < 3 && error instanceof ApiError && (error.status === 0 || error.status >= 500 || error.status === 429),
      retryDelay: times => Math.min(8000, 500 * 2 ** times),
    },
  },
})

function Screen() {
  const { path: [screen = 'sagas', name] } = useRoute()
  switch (screen) {
    case 'sagas': return name === undefined ? <Sagas /> : <SagaScreen key={name} id={name} />
    case 'failures': return <Failures />
    case 'overview': return <Overview />
    case 'definitions': return <Definitions name={name} />
    case 'waiting': return <Waiting />
    case 'nodes': return <Nodes />
    case 'operations': return <Operations id={name} />
    default: return <Empty icon="search" title="There is no such page"><a href="#/sagas">To the sagas</a></Empty>
  }
}

applyTheme()
createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <Shell><Suspense fallback={<div className="loading" role="status">Loading…</div>}><Screen /></Suspense></Shell>
    </QueryClientProvider>
  </StrictMode>,
)
