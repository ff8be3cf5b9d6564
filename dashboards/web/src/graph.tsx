// The definition's graph with a run drawn on it: nodes of two lanes, the commit line, ways forward, and undoing that flows back.
import { BaseEdge, getBezierPath, Handle, Position, ReactFlow, ReactFlowProvider, useReactFlow, ViewportPortal, type Edge, type EdgeProps, type Node, type NodeProps } from '@xyflow/react'
import { useQuery } from '@tanstack/react-query'
import type { ElkNode } from 'elkjs/lib/elk-api'
import ELK from 'elkjs/lib/elk-api'
import elkWorker from 'elkjs/lib/elk-worker.min.js?url'
import { memo, useEffect, useMemo, useRef, useState, type ReactNode } from 'react'
import type { DefinitionStep } from './api'
import { Icon, type IconName } from './icons'
import type { Lane, Shape, Tone } from './run'

export interface LaneView { lane: Lane; note: ReactNode }
export interface NodeView { first: LaneView; second: LaneView | null; future: boolean; badges?: { tone: Tone; text: string; label: string }[] }

interface Place { x: number; y: number; w: number; h: number }
interface Layout { nodes: Record<string, Place>; width: number; height: number; commit: number | null; down: boolean }

const nodeWidth = 184
const headHeight = 42
const laneHeight = 24

const elk = new ELK({ workerFactory: () => new Worker(elkWorker) })

/** Layered, with the commit line as a border that no step crosses. */
async function layout(shapes: readonly Shape[], steps: readonly DefinitionStep[], down: boolean): Promise<Layout> {
  const names = new Set(shapes.map(shape => shape.name))
  const after = shapes.some(shape => shape.afterCommit)
  const graph: ElkNode = {
    id: 'root',
    layoutOptions: {
      'elk.algorithm': 'layered', 'elk.direction': down ? 'DOWN' : 'RIGHT', 'elk.partitioning.activate': 'true',
      'elk.layered.spacing.nodeNodeBetweenLayers': down ? '34' : '40', 'elk.spacing.nodeNode': down ? '14' : '28', 'elk.layered.nodePlacement.strategy': 'NETWORK_SIMPLEX',
      'elk.layered.considerModelOrder.strategy': 'NODES_AND_EDGES', 'elk.padding': '[top=0,left=0,bottom=0,right=0]',
    },
    children: shapes.map(shape => ({
      id: shape.name, width: nodeWidth, height: headHeight + laneHeight * (shape.second === null ? 1 : 2) + 2, layoutOptions: { 'elk.partitioning.partition': shape.afterCommit ? '1' : '0' },
    })),
    edges: steps.flatMap(step => step.after.filter(before => names.has(before)).map(before => ({ id: `${before} ${step.name}`, sources: [before], targets: [step.name] }))),
  }
  const placed = await elk.layout(graph)
  const nodes: Record<string, Place> = {}
  for (const child of placed.children ?? []) nodes[child.id] = { x: child.x ?? 0, y: child.y ?? 0, w: child.width ?? nodeWidth, h: child.height ?? 0 }
  const places = shapes.map(shape => ({ shape, at: nodes[shape.name] })).filter((each): each is { shape: Shape; at: Place } => each.at !== undefined)
  const end = (at: Place) => (down ? at.y + at.h : at.x + at.w)
  const last = Math.max(0, ...places.filter(each => !each.shape.afterCommit).map(each => end(each.at)))
  // The line needs room of its own: what comes after it moves aside.
  const room = 34
  if (after) for (const { shape, at } of places) if (shape.afterCommit) { if (down) at.y += room; else at.x += room }
  const next = after ? Math.min(...places.filter(each => each.shape.afterCommit).map(each => (down ? each.at.y : each.at.x))) : last + 2 * room
  return {
    nodes, down, commit: shapes.length === 0 ? null : (last + next) / 2,
    width: Math.max(0, ...places.map(each => each.at.x + each.at.w)) + (!after && !down ? room : 0), height: Math.max(0, ...places.map(each => each.at.y + each.at.h)) + (!after && down ? room : 0),
  }
}

// ---------- nodes

type StepNode = Node<{ shape: Shape; participant: string; view: NodeView; selected: boolean; down: boolean; onSelect: (name: string) => void }, 'step'>

const laneIcon = ({ lane }: LaneView): IconName => {
  const back = lane.word.startsWith('Cancel') || lane.word.startsWith('Compensate')
  if (lane.word.endsWith('not needed') || lane.word.endsWith('skipped')) return 'skipped'
  switch (lane.state) {
    case 'idle': return lane.tone === 'none' ? 'pending' : 'fwd'
    case 'run': return lane.tone === 'wait' ? 'waiting' : back ? 'back' : 'fwd'
    case 'no': return lane.tone === 'fault' && back ? 'stuck' : 'no'
    default: return back ? 'back' : 'check'
  }
}

function LaneRow({ view }: { view: LaneView }) {
  const { lane, note } = view
  const tone = lane.state === 'idle' || lane.state === 'past' ? undefined : lane.tone
  return <span className="lane" data-p={tone} data-s={lane.state === 'idle' || lane.state === 'past' ? undefined : lane.state}><Icon name={laneIcon(view)} /><span>{lane.word.replace(/, (not needed|skipped)$/, '')}</span><span>{note ?? (/, (.*)$/.exec(lane.word)?.[1] ?? '')}</span></span>
}

const StepBox = memo(function StepBox({ data: { shape, participant, view, selected, down, onSelect } }: NodeProps<StepNode>) {
  const lane1 = headHeight + laneHeight / 2
  const lane2 = headHeight + laneHeight * 1.5
  const undo = view.second === null ? lane1 + 7 : lane2
  const handle = (id: string, type: 'source' | 'target', side: Position, at: number) => <Handle id={id} type={type} position={side} isConnectable={false} style={down ? { left: at } : { top: at }} />
  return (
    <>
      <button type="button" className={`node${view.future ? ' future' : ''}${selected ? ' sel' : ''}`} aria-pressed={selected} onClick={() => onSelect(shape.name)}>
        <span className="nh"><b className="cut" title={shape.name}>{shape.name}</b></span>
        <span className="np"><span className="cut" title={participant}>{participant}</span><span className="kind">{shape.kind}</span></span>
        <LaneRow view={view.first} />
        {view.second && <LaneRow view={view.second} />}
      </button>
      {view.badges && <span className="badges">{view.badges.map(badge => <span key={badge.tone} className="count" data-p={badge.tone} title={badge.label} role="img" aria-label={badge.label}>{badge.text}</span>)}</span>}
      {handle('in', 'target', down ? Position.Top : Position.Left, down ? 66 : lane1)}
      {handle('out', 'source', down ? Position.Bottom : Position.Right, down ? 66 : lane1)}
      {handle('back-in', 'target', down ? Position.Bottom : Position.Right, down ? 110 : undo)}
      {handle('back-out', 'source', down ? Position.Top : Position.Left, down ? 110 : undo)}
      {handle('turn', 'source', down ? Position.Bottom : Position.Right, down ? 66 : lane1)}
    </>
  )
})

// ---------- edges

type Way = 'future' | 'past' | 'kept' | 'back' | 'back run' | 'turn'
type WayEdge = Edge<{ way: Way }, 'way'>

function WayLine({ sourceX, sourceY, targetX, targetY, sourcePosition, targetPosition, data }: EdgeProps<WayEdge>) {
  const way = data?.way ?? 'future'
  const tipped = { [Position.Left]: [-6, 0], [Position.Right]: [6, 0], [Position.Top]: [0, -6], [Position.Bottom]: [0, 6] }[targetPosition] as [number, number]
  const [endX, endY] = [targetX + tipped[0], targetY + tipped[1]]
  const side = sourcePosition === Position.Right
  const [path] = way === 'turn'
    ? [side ? `M${sourceX} ${sourceY}h6a${(endY - sourceY) / 2} ${(endY - sourceY) / 2} 0 0 1 0 ${endY - sourceY}` : `M${sourceX} ${sourceY}v6a${(endX - sourceX) / 2} ${(endX - sourceX) / 2} 0 0 0 ${endX - sourceX} 0`]
    : getBezierPath({ sourceX, sourceY, targetX: endX, targetY: endY, sourcePosition, targetPosition, curvature: 0.4 })
  const look = way === 'turn' ? 'back' : way
  const tip = targetPosition === Position.Left ? 'l-7 -4v8z' : targetPosition === Position.Right ? 'l7 -4v8z' : targetPosition === Position.Top ? 'l-4 -7h8z' : 'l-4 7h8z'
  return <><BaseEdge path={path} className={`edge ${look}`} interactionWidth={0} /><path className={`tip ${look.split(' ')[0]}`} d={`M${targetX} ${targetY}${tip}`} /></>
}

const nodeTypes = { step: StepBox }
const edgeTypes = { way: WayLine }

// ---------- the graph

interface Props {
  id: string
  shapes: readonly Shape[]
  steps: readonly DefinitionStep[]
  views: ReadonlyMap<string, NodeView>
  /** How each way stands; null: a drawing of the definition alone. */
  ways: { forward: (from: string, to: string) => 'future' | 'past' | 'kept'; back: (from: string, to: string) => 'back' | 'back run' | null; turned: string | null } | null
  committed: boolean
  commitText: ReactNode
  selected: string | null
  onSelect: (name: string) => void
}

export function Graph(props: Props) {
  const box = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(0)
  useEffect(() => {
    if (!box.current) return
    const watch = new ResizeObserver(([entry]) => setWidth(Math.round(entry!.contentRect.width)))
    watch.observe(box.current)
    return () => watch.disconnect()
  }, [])
  const down = width > 0 && width < 560
  const { data } = useQuery({ queryKey: ['layout', props.id, down], enabled: width > 0 && props.shapes.length > 0, staleTime: Infinity, gcTime: 600_000, queryFn: () => layout(props.shapes, props.steps, down) })
  const scale = data ? Math.max(0.55, Math.min(1, (width - 32) / Math.max(1, data.width))) : 1
  const height = data ? Math.min(down ? 900 : 620, Math.round(data.height * scale) + (down ? (props.shapes.some(shape => shape.afterCommit) ? 40 : 76) : 92)) : 200
  return (
    <div className="graph" ref={box} style={{ height }} role="group" aria-label="Graph of steps, in the order of the graph">
      {data && width > 0 && <ReactFlowProvider><Plane {...props} layout={data} width={width} scale={scale} height={height} /></ReactFlowProvider>}
    </div>
  )
}

function Plane({ shapes, steps, views, ways, committed, commitText, selected, onSelect, layout: at, width, scale, height }: Props & { layout: Layout; width: number; scale: number; height: number }) {
  const flow = useReactFlow()
  const home = useMemo(() => ({ x: Math.max(16, (width - at.width * scale) / 2), y: at.down ? 20 : 42, zoom: scale }), [width, at, scale])
  useEffect(() => { void flow.setViewport(home) }, [flow, home])
  const byName = useMemo(() => new Map(steps.map(step => [step.name, step])), [steps])
  const nodes = useMemo(() => shapes.flatMap((shape): StepNode[] => {
    const place = at.nodes[shape.name]
    const view = views.get(shape.name)
    if (!place || !view) return []
    const step = byName.get(shape.name)
    return [{
      id: shape.name, type: 'step', position: { x: place.x, y: place.y }, width: place.w, height: place.h, focusable: false,
      data: { shape, view, participant: participantOf(step), selected: selected === shape.name, down: at.down, onSelect },
    }]
  }), [shapes, at, views, byName, selected, onSelect])
  const edges = useMemo(() => {
    const all: WayEdge[] = []
    for (const step of steps) for (const before of step.after) {
      if (!at.nodes[before] || !at.nodes[step.name]) continue
      all.push({ id: `${before} ${step.name}`, type: 'way', source: before, target: step.name, sourceHandle: 'out', targetHandle: 'in', focusable: false, data: { way: ways?.forward(before, step.name) ?? 'kept' } })
      if (!ways) all.at(-1)!.data = { way: 'plain' as Way }
      const back = ways?.back(before, step.name)
      if (back) all.push({ id: `${step.name} back ${before}`, type: 'way', source: step.name, target: before, sourceHandle: 'back-out', targetHandle: 'back-in', focusable: false, data: { way: back }, zIndex: 1 })
    }
    const turned = ways?.turned
    if (turned && at.nodes[turned] && views.get(turned)?.second) all.push({ id: `${turned} turns`, type: 'way', source: turned, target: turned, sourceHandle: 'turn', targetHandle: 'back-in', focusable: false, data: { way: 'turn' }, zIndex: 1 })
    return all
  }, [steps, at, ways, views])
  return (
    <>
      <ReactFlow nodes={nodes} edges={edges} nodeTypes={nodeTypes} edgeTypes={edgeTypes} defaultViewport={home} minZoom={0.3} maxZoom={1.6}
        nodesDraggable={false} nodesConnectable={false} nodesFocusable={false} edgesFocusable={false} elementsSelectable={false} zoomOnScroll={false} zoomOnDoubleClick={false} preventScrolling={false} panOnDrag
        proOptions={{ hideAttribution: true }} disableKeyboardA11y aria-label="Steps">
        {at.commit !== null && (
          <ViewportPortal>
            {at.down
              ? <><div className={committed ? 'beyond on' : 'beyond'} style={{ left: -2000, width: 4000, top: at.commit, height: 4000 }} /><div className={committed ? 'commit across on' : 'commit across'} style={{ left: -2000, width: 4000, top: at.commit }} /><div className={committed ? 'commitlabel on' : 'commitlabel'} style={{ left: at.width / 2, top: at.commit }}><Icon name={committed ? 'check' : 'flag'} />{commitText}</div></>
              : <><div className={committed ? 'beyond on' : 'beyond'} style={{ left: at.commit, width: 4000, top: -2000, height: 4000 }} /><div className={committed ? 'commit on' : 'commit'} style={{ left: at.commit, top: -2000, height: 4000 }} /><div className={committed ? 'commitlabel on' : 'commitlabel'} style={{ left: at.commit, top: -24, ...(home.x + at.commit * scale + 115 > width ? { transform: `translate(calc(${Math.round((width - 8 - home.x) / scale - at.commit)}px - 100%), -50%)` } : {}) }}><Icon name={committed ? 'check' : 'flag'} />{commitText}</div></>}
          </ViewportPortal>
        )}
      </ReactFlow>
      {!at.down && <><div className="side"><Icon name="back" />a refusal on this side undoes</div>{shapes.some(shape => shape.afterCommit) && <div className="side right"><Icon name="fwd" />forward only</div>}</>}
      <div className="zoom" role="group" aria-label="Zoom">
        <button type="button" className="btn bare icon" aria-label="Larger" onClick={() => void flow.zoomIn()}><Icon name="plus" /></button>
        <button type="button" className="btn bare icon" aria-label="Smaller" onClick={() => void flow.zoomOut()}><Icon name="minus" /></button>
        {(at.width * scale > width || at.height * scale + 40 > height) && <button type="button" className="btn bare icon" aria-label="All of it" onClick={() => void flow.fitView({ padding: 0.08 })}><Icon name="graph" /></button>}
      </div>
    </>
  )
}

export function participantOf(step: DefinitionStep | undefined): string {
  if (!step) return ''
  if (step.participant) return step.participant
  const url = step.try ?? step.do ?? step.check
  try { return url ? new URL(url).host : '' } catch { return url ?? '' }
}

/** A step as its definition says it: what each phase is called, and nothing sent. */
export function plain(shape: Shape, steps: readonly DefinitionStep[]): Omit<NodeView, 'future'> {
  const step = steps.find(each => each.name === shape.name)
  const command = (endpoint: string | undefined): ReactNode => (endpoint ? <code className="cut" title={endpoint}>{endpoint.startsWith('bus:') ? endpoint.split('/').pop() : pathOf(endpoint)}</code> : null)
  const idle = { tone: 'none', state: 'idle' } as const
  return {
    first: { lane: { ...idle, word: shape.first, tone: 'try' }, note: command(step?.try ?? step?.do ?? step?.check) },
    second: shape.second === null ? null : { lane: { ...idle, word: shape.second === 'tcc' ? 'Cancel or confirm' : 'Compensate' }, note: shape.second === 'compensate' ? command(step?.compensate) : null },
  }
}

function pathOf(url: string): string {
  try { return new URL(url).pathname } catch { return url }
}
