-- Walks a partition's sagas newest first and gives those that match, or counts them by status. Looks at no more than a slice, so that others have their turn.
-- KEYS[1] the partition's counter.
-- ARGV 1 partition, 2 'list' or 'count', 3 most matches, 4 most sagas to look at, 5 and 6 start and id of the saga to go on after ('': from the newest),
--      7 started at or after ('': any), 8 started before ('': any), 9 definition ('': any), 10 statuses as digits, 11 text ('': any), 12 error's code ('': any),
--      13 step's name, 14 how many tags, then key and value of each, then how many places of the step (-1: no step asked), then definition ('': any), version
--      and index of each; the version of a definition that came with its saga is 'inline', and its steps' indices are their names.
-- Answers {1: all seen, 0: go on, start and id to go on after, then for a list start and id of each match, else the count of each status}.
local p, counting, most, slice = ARGV[1], ARGV[2] == 'count', tonumber(ARGV[3]), tonumber(ARGV[4])
local below, belowId, after, before = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
local definition, statuses, text, failure, step = ARGV[9], ARGV[10], ARGV[11], ARGV[12], ARGV[13]
local tags, places, at = {}, nil, 15
for i = 1, tonumber(ARGV[14]) do
  tags[i], at = {ARGV[at], ARGV[at + 1]}, at + 2
end
if ARGV[at] ~= '-1' then
  places = {}
  for i = at + 1, #ARGV, 3 do places[#places + 1] = {ARGV[i], ARGV[i + 1], ARGV[i + 2]} end
end

local sources, least = {}, 0
for status in string.gmatch(statuses, '%d') do
  local key = definition == '' and p .. 'status:' .. status or p .. 'definition:' .. status .. ':' .. definition
  local size = redis.call('ZCARD', key)
  if size > 0 then sources[#sources + 1], least = {key = key, size = size, status = status}, least + size end
end
for _, tag in ipairs(tags) do
  local key = p .. 'value:' .. tag[2]
  local size = redis.call('ZCARD', key)
  if size < least then sources, least = {{key = key, size = size}}, size end
end

local function tagged(json, key, value)
  if not json then return false end
  local all = cjson.decode(json)
  if key then return all[key] == value end
  for _, one in pairs(all) do
    if one == value then return true end
  end
  return false
end

-- Errors: the saga's step and code, then index and code of each step that has one.
local function failed(errors, name, version)
  if not errors or errors == '' then return false end
  local all = cjson.decode(errors)
  if all[2] == failure and (not places or all[1] == step) then return true end
  for i = 3, #all, 2 do
    if all[i + 1] == failure then
      if not places then return true end
      for _, place in ipairs(places) do
        if (place[1] == '' or place[1] == name) and place[2] == version and place[3] == all[i] then return true end
      end
    end
  end
  return false
end

-- The status if the saga matches, else nil. The status is known when the saga was found under it.
local function match(id, status)
  local named = text == '' or string.sub(id, 1, #text) == text
  if status and named and #tags == 0 and not places and failure == '' then return status end
  local f = redis.call('HMGET', p .. 'saga:' .. id, 'n', 'd', 't', 'dv', 'w', 'e')
  if not f[1] or not string.find(statuses, f[1], 1, true) then return nil end
  if definition ~= '' and f[2] ~= definition then return nil end
  if not named and not tagged(f[3], nil, text) then return nil end
  for _, tag in ipairs(tags) do
    if not tagged(f[3], tag[1], tag[2]) then return nil end
  end
  if failure ~= '' then return failed(f[6], f[2], f[4]) and f[1] or nil end
  if places then
    local there = false
    for _, place in ipairs(places) do
      there = there or (place[1] == '' or place[1] == f[2]) and place[2] == f[4] and f[5] and string.find(f[5], '|' .. place[3] .. '|', 1, true) ~= nil
    end
    if not there then return nil end
  end
  return f[1]
end

local counts, found = {0, 0, 0, 0, 0, 0, 0}, {}
local function take(id, start, status)
  if counting then counts[tonumber(status) + 1] = counts[tonumber(status) + 1] + 1
  else found[#found + 1] = {start, id} end
end
-- Lua compares strings by the server's locale, sorted sets by bytes.
local function above(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return #a > #b
end
local function newer(start, id, otherStart, otherId)
  return start > otherStart or (start == otherStart and above(id, otherId))
end
local function answer(done, start, id)
  local result = {done and 1 or 0, tostring(start or ''), id or ''}
  if counting then
    for i = 1, 7 do result[3 + i] = counts[i] end
  else
    for i, one in ipairs(found) do result[2 + 2 * i], result[3 + 2 * i] = string.format('%.0f', one[1]), one[2] end
  end
  return result
end

-- A tag that no saga of these statuses, and of this definition, has: there is nothing to look at, however many have the tag.
local function tallied(key, value)
  local tally = p .. 'tally:' .. #key .. ':' .. key .. ':' .. value
  if definition ~= '' then
    for status in string.gmatch(statuses, '%d') do
      if redis.call('HEXISTS', tally, status .. '\n' .. definition) == 1 then return true end
    end
    return false
  end
  -- A field is gone when it comes down to nothing.
  for _, field in ipairs(redis.call('HKEYS', tally)) do
    if string.find(statuses, string.sub(field, 1, 1), 1, true) then return true end
  end
  return false
end
for _, tag in ipairs(tags) do
  if not tallied(tag[1], tag[2]) then return answer(true) end
end

-- Few ids begin with the text: gather them all and sort.
if text ~= '' and #sources > 0 then
  local from, to = '[' .. text, '[' .. text .. '\255'
  local few = redis.call('ZLEXCOUNT', p .. 'ids', from, to) + redis.call('ZCARD', p .. 'value:' .. text)
  if few <= slice and few <= least then
    local seen = {}
    local function gather(ids)
      for _, id in ipairs(ids) do
        local start = not seen[id] and tonumber(redis.call('HGET', p .. 'saga:' .. id, 'a') or nil)
        seen[id] = true
        if start and (not after or start >= after) and (not before or start < before) and (not below or newer(below, belowId, start, id)) then
          local status = match(id, nil)
          if status then take(id, start, status) end
        end
      end
    end
    gather(redis.call('ZRANGEBYLEX', p .. 'ids', from, to))
    gather(redis.call('ZRANGE', p .. 'value:' .. text, 0, -1))
    table.sort(found, function(a, b) return newer(a[1], a[2], b[1], b[2]) end)
    local last = #found > most and found[most] or nil
    for i = #found, most + 1, -1 do found[i] = nil end
    return answer(not last, last and string.format('%.0f', last[1]), last and last[2])
  end
end

-- Where each source goes on: the rank of its first saga after the one seen last.
for _, source in ipairs(sources) do
  source.rank, source.n, source.i = 0, 0, 0
  if below then
    local rank = redis.call('ZCOUNT', source.key, '(' .. ARGV[5], '+inf')
    local last = rank + redis.call('ZCOUNT', source.key, ARGV[5], ARGV[5])
    while rank < last do
      local middle = math.floor((rank + last) / 2)
      if above(belowId, redis.call('ZREVRANGE', source.key, middle, middle)[1]) then last = middle else rank = middle + 1 end
    end
    source.rank = rank
  end
  if before then source.rank = math.max(source.rank, redis.call('ZCOUNT', source.key, ARGV[8], '+inf')) end
end
local chunk = math.max(8, math.min(256, math.ceil(2 * most / math.max(1, #sources))))
if counting then chunk = 256 end
local function head(source)
  if source.i >= source.n and source.rank < source.size then
    source.chunk = redis.call('ZREVRANGE', source.key, source.rank, source.rank + chunk - 1, 'WITHSCORES')
    source.n, source.i = #source.chunk / 2, 0
    source.rank = source.rank + source.n
  end
  if source.i >= source.n then return nil end
  return tonumber(source.chunk[2 * source.i + 2]), source.chunk[2 * source.i + 1]
end
local lastStart, lastId
for looked = 1, slice do
  local best, bestStart, bestId
  for _, source in ipairs(sources) do
    local start, id = head(source)
    if start and (not best or newer(start, id, bestStart, bestId)) then best, bestStart, bestId = source, start, id end
  end
  if not best or (after and bestStart < after) then return answer(true) end
  best.i, lastStart, lastId = best.i + 1, bestStart, bestId
  local status = match(bestId, best.status)
  if status then take(bestId, bestStart, status) end
  if #found >= most then break end
end
return answer(false, string.format('%.0f', lastStart), lastId)
