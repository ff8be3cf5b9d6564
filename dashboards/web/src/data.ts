// The questions that several screens ask, each with one key in the cache.
import { keepPreviousData, queryOptions, useQuery, useQueryClient, type QueryClient } from '@tanstack/react-query'
import { useCallback, useMemo } from 'react'
import { api, ask, history, type HistoryEntry, type Saga } from './api'
import { toApi, type Filters } from './filters'
import { useInterval } from './live'
import { shapes, type Shape } from './run'
import { now } from './time'

export function useDefinitions() {
  return useQuery({ queryKey: ['definitions'], queryFn: ({ signal }) => ask(api.GET('/api/v1/definitions', { signal })), staleTime: 30_000, refetchInterval: useInterval(60_000, 60_000) })
}

const empty: Shape[] = []

/** The shapes of every definition's steps, by name and version. */
export function useShapes(): (definition: string, version: number) => Shape[] {
  const { data } = useDefinitions()
  const all = useMemo(() => new Map(data?.items.map(definition => [`${definition.name} ${definition.version}`, shapes(definition.steps, definition.pivot)])), [data])
  // One function for as long as the definitions are the same: columns are made with it, and new columns are new cells.
  return useCallback((definition, version) => all.get(`${definition} ${version}`) ?? empty, [all])
}

export function useCounts(filters: Filters | null) {
  const interval = useInterval(2500, filters === null ? 30_000 : 2500)
  return useQuery({
    queryKey: ['counts', filters], refetchInterval: interval, placeholderData: keepPreviousData,
    queryFn: ({ signal }) => ask(api.GET('/api/v1/sagas/counts', { params: { query: filters ? toApi({ ...filters, status: [] }, now()) : {} }, signal })),
  })
}

export function useStats() {
  return useQuery({ queryKey: ['stats'], refetchInterval: useInterval(2000, 5000), queryFn: ({ signal }) => ask(api.GET('/api/v1/stats', { signal })) })
}

const historyKey = (id: string) => ['history', id] as const

const sagaOptions = (id: string) => queryOptions({
  queryKey: ['saga', id] as const, retry: false, queryFn: ({ signal }) => ask(api.GET('/api/v1/sagas/{id}', { params: { path: { id } }, signal })),
})

const historyOptions = (client: QueryClient, id: string) => queryOptions({
  queryKey: historyKey(id), retry: false, structuralSharing: false,
  queryFn: async ({ signal }) => {
    // What was read stays read: histories only grow.
    const known = client.getQueryData<HistoryEntry[]>(historyKey(id)) ?? []
    const more = await history(id, known.at(-1)?.seq ?? 0, signal)
    return more.length === 0 ? known : [...known, ...more]
  },
})

export const useSaga = (id: string) => useQuery(sagaOptions(id))
export const useHistory = (id: string) => useQuery(historyOptions(useQueryClient(), id))

/** Both, asked again: so that the graph and the history tell of the same moment. */
export async function refresh(client: QueryClient, id: string): Promise<{ saga: Saga; history: HistoryEntry[] }> {
  const [saga, entries] = await Promise.all([client.fetchQuery({ ...sagaOptions(id), staleTime: 0 }), client.fetchQuery({ ...historyOptions(client, id), staleTime: 0 })])
  return { saga, history: entries }
}
