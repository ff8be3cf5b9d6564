// As much of JSON Schema as inputs use: enough to draw a form and to say what is missing before the server does.
export interface Schema {
  $ref?: string; type?: string | string[]; properties?: Record<string, Schema>; required?: string[]; items?: Schema; enum?: unknown[]; const?: unknown
  format?: string; description?: string; title?: string; default?: unknown; minimum?: number; maximum?: number; minLength?: number; maxLength?: number; pattern?: string
  minItems?: number; maxItems?: number; anyOf?: Schema[]; oneOf?: Schema[]; additionalProperties?: boolean | Schema
}

export interface Fault { path: string; message: string }

/** The schema itself, wherever it stands in the document. */
export function resolve(schema: Schema | undefined, root: Schema): Schema {
  let at = schema ?? {}
  for (let hops = 0; at.$ref !== undefined && hops < 20; hops++) {
    const target = at.$ref === '#' ? root : at.$ref.replace(/^#\//, '').split('/').reduce<unknown>((node, part) => (node as Record<string, unknown> | undefined)?.[part.replaceAll('~1', '/').replaceAll('~0', '~')], root)
    at = (target as Schema | undefined) ?? {}
  }
  const choices = at.anyOf ?? at.oneOf
  if (choices) {
    // "This or null" is this, and optional.
    const real = choices.filter(each => each.type !== 'null')
    if (real.length === 1) return { ...resolve(real[0], root), ...(at.description ? { description: at.description } : {}) }
  }
  return at
}

export const typesOf = (schema: Schema): string[] => (schema.type === undefined ? (schema.properties ? ['object'] : schema.items ? ['array'] : []) : [schema.type].flat())
export const nullable = (schema: Schema) => typesOf(schema).includes('null')

/** The first type that a form can ask for; web defaults let numbers come as strings too, and a number is what is meant. */
export function mainType(schema: Schema): 'string' | 'integer' | 'number' | 'boolean' | 'object' | 'array' | 'any' {
  const types = typesOf(schema)
  for (const type of ['integer', 'number', 'boolean', 'array', 'object', 'string'] as const) if (types.includes(type)) return type
  return schema.enum?.every(each => typeof each === 'string') ? 'string' : 'any'
}

/** What an empty form holds: nothing for what is asked, an object for what has parts. */
export function blank(schema: Schema, root: Schema, depth = 0): unknown {
  const at = resolve(schema, root)
  if (at.default !== undefined) return structuredClone(at.default)
  if (mainType(at) === 'object' && depth < 8) {
    return Object.fromEntries(Object.entries(at.properties ?? {}).map(([name, part]) => [name, blank(part, root, depth + 1)]).filter(([, value]) => value !== undefined))
  }
  if (mainType(at) === 'array') return []
  return undefined
}

/** What does not fit, by JSON path as the server writes it. */
export function check(schema: Schema, value: unknown, root: Schema = schema, path = '$', required = true): Fault[] {
  const at = resolve(schema, root)
  const fault = (message: string): Fault[] => [{ path, message }]
  if (value === undefined) return required ? fault('Needed') : []
  if (value === null) return nullable(at) || typesOf(at).length === 0 || !required ? [] : fault('Needed')
  if (at.enum && !at.enum.some(each => each === value)) return fault(`One of ${at.enum.join(', ')}`)
  switch (mainType(at)) {
    case 'object': {
      if (typeof value !== 'object' || Array.isArray(value)) return fault('An object')
      const given = value as Record<string, unknown>
      return Object.entries(at.properties ?? {}).flatMap(([name, part]) => check(part, given[name], root, `${path}.${name}`, at.required?.includes(name) ?? false))
    }
    case 'array':
      if (!Array.isArray(value)) return fault('A list')
      if (at.minItems !== undefined && value.length < at.minItems) return fault(`At least ${at.minItems}`)
      if (at.maxItems !== undefined && value.length > at.maxItems) return fault(`At most ${at.maxItems}`)
      return value.flatMap((item, i) => check(at.items ?? {}, item, root, `${path}[${i}]`))
    case 'integer': case 'number': {
      const number = typeof value === 'number' ? value : Number.NaN
      if (Number.isNaN(number)) return fault('A number')
      if (mainType(at) === 'integer' && !Number.isInteger(number)) return fault('A whole number')
      if (at.minimum !== undefined && number < at.minimum) return fault(`${at.minimum} or more`)
      if (at.maximum !== undefined && number > at.maximum) return fault(`${at.maximum} or less`)
      return []
    }
    case 'boolean': return typeof value === 'boolean' ? [] : fault('Yes or no')
    case 'string':
      if (typeof value !== 'string') return typesOf(at).length > 1 ? [] : fault('A text')
      if (value === '' && required) return fault('Needed')
      if (at.minLength !== undefined && value.length < at.minLength) return fault(`At least ${at.minLength} characters`)
      if (at.maxLength !== undefined && value.length > at.maxLength) return fault(`At most ${at.maxLength} characters`)
      if (at.pattern !== undefined && !matches(at.pattern, value)) return fault(`Must look like ${at.pattern}`)
      if (at.format === 'date' && !/^\d{4}-\d\d-\d\d$/.test(value)) return fault('A day, as 2026-01-31')
      if (at.format === 'uuid' && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value)) return fault('A UUID')
      return []
    default: return []
  }
}

function matches(pattern: string, value: string): boolean {
  try {
    return new RegExp(pattern, 'u').test(value)
  } catch {
    return true
  }
}

/** The value with one part changed; undefined takes the part out. */
export function put(value: unknown, path: readonly (string | number)[], part: unknown): unknown {
  const [head, ...rest] = path
  if (head === undefined) return part
  if (typeof head === 'number') {
    const list = Array.isArray(value) ? [...value as unknown[]] : []
    const next = put(list[head], rest, part)
    if (next === undefined && rest.length === 0) list.splice(head, 1)
    else list[head] = next
    return list
  }
  const { [head]: old, ...others } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  const next = put(old, rest, part)
  if (next === undefined) return others
  // The order of what was there stays.
  return typeof value === 'object' && value !== null && head in value ? { ...(value as Record<string, unknown>), [head]: next } : { ...others, [head]: next }
}
