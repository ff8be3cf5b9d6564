import { expect, test } from 'vitest'
import { blank, check, mainType, put, resolve, type Schema } from './schema'

const trip: Schema = {
  type: 'object', required: ['city', 'day', 'nights'],
  properties: { city: { type: 'string' }, day: { type: 'string', format: 'date' }, nights: { type: ['string', 'integer'], pattern: '^-?\\d+$', minimum: 1 }, note: { type: ['string', 'null'] }, guests: { type: 'array', items: { $ref: '#/properties/guest' } }, guest: { type: 'object', required: ['name'], properties: { name: { type: 'string' } } } },
}

test('a form says what is missing, by the path that the server would name', () => {
  expect(check(trip, {})).toEqual([{ path: '$.city', message: 'Needed' }, { path: '$.day', message: 'Needed' }, { path: '$.nights', message: 'Needed' }])
  expect(check(trip, { city: 'Paris', day: '2030-01-01', nights: 2, guests: [{ name: 'Ann' }, {}] })).toEqual([{ path: '$.guests[1].name', message: 'Needed' }])
  expect(check(trip, { city: 'Paris', day: 'tomorrow', nights: 0 }).map(fault => fault.path)).toEqual(['$.day', '$.nights'])
})

test('numbers that may come as text are asked for as numbers', () => expect(mainType(trip.properties!['nights']!)).toBe('integer'))

test('references and "this or null" are followed', () => {
  expect(resolve({ $ref: '#/properties/guest' }, trip).required).toEqual(['name'])
  expect(mainType(resolve({ anyOf: [{ type: 'null' }, { type: 'number' }] }, trip))).toBe('number')
})

test('an empty form asks nothing of what is optional', () => expect(blank(trip, trip)).toEqual({ guests: [], guest: {} }))

test('a part is changed, added and taken out without touching the others', () => {
  const value = put(put({ city: 'Paris' }, ['guests', 0, 'name'], 'Ann'), ['guests', 1], { name: 'Bob' })
  expect(value).toEqual({ city: 'Paris', guests: [{ name: 'Ann' }, { name: 'Bob' }] })
  expect(put(value, ['guests', 0], undefined)).toEqual({ city: 'Paris', guests: [{ name: 'Bob' }] })
  expect(put(value, ['city'], undefined)).toEqual({ guests: [{ name: 'Ann' }, { name: 'Bob' }] })
})
