-- Commits one version of one saga: state, history, owner and indices together. Every check comes before the first write: Lua does not roll back.
-- KEYS[1] the partition's counter.
-- ARGV 1 partition, 2 id, 3 version before, 4 commit id, 5 owner before ('': whoever it is must be none), 6 owner, 7 status, 8 finished at ('': not ended),
--      9 state, 10 steps under way, 11 definition, 12 definition's version, 13 started at, 14 tags as JSON ('': none), 15 errors as JSON ('': none),
--      16 how many tag values, then those, then the new history entries.
-- Answers the partition's counter, which rises with every commit; 0: conflict, nothing was written; below 0: had been written before, and the counter.
local p, id, before, commit, from, owner, status = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local finished, definition, started, values = ARGV[8], ARGV[11], ARGV[13], tonumber(ARGV[16])
local saga = p .. 'saga:' .. id
local at = redis.call('HMGET', saga, 'v', 'c', 'n', 'o')
local version, was = tonumber(at[1] or 0), at[3]
-- The same commit again, because its answer was lost.
if version == before + 1 and at[2] == commit then return -tonumber(redis.call('GET', KEYS[1]) or 1) end
if version ~= before or (was and tonumber(was) >= 4) then return 0 end
-- The fence: whoever lost the saga to another node since it last looked must look again.
if at[4] and at[4] ~= from then return 0 end

local tags = was ~= status and (was and redis.call('HGET', saga, 't') or ARGV[14])
tags = tags and tags ~= '' and cjson.decode(tags) or {}
local fields = {'v', before + 1, 'c', commit, 's', ARGV[9], 'n', status, 'w', ARGV[10], 'e', ARGV[15]}
if version == 0 then
  for _, field in ipairs({'d', definition, 'dv', ARGV[12], 'a', started}) do fields[#fields + 1] = field end
  if ARGV[14] ~= '' then fields[#fields + 1], fields[#fields + 2] = 't', ARGV[14] end
  redis.call('ZADD', p .. 'ids', 0, id)
  for i = 17, 16 + values do redis.call('ZADD', p .. 'value:' .. ARGV[i], started, id) end
end
redis.call('HSET', saga, unpack(fields))
-- Lua takes some thousands of arguments in one call, and a long history may have more.
for first = 17 + values, #ARGV, 1000 do redis.call('RPUSH', p .. 'history:' .. id, unpack(ARGV, first, math.min(first + 999, #ARGV))) end
if was ~= status then
  if was then
    redis.call('ZREM', p .. 'status:' .. was, id)
    redis.call('ZREM', p .. 'definition:' .. was .. ':' .. definition, id)
  end
  redis.call('ZADD', p .. 'status:' .. status, started, id)
  redis.call('ZADD', p .. 'definition:' .. status .. ':' .. definition, started, id)
  for key, value in pairs(tags) do
    local tally = p .. 'tally:' .. #key .. ':' .. key .. ':' .. value
    if was and redis.call('HINCRBY', tally, was .. '\n' .. definition, -1) <= 0 then redis.call('HDEL', tally, was .. '\n' .. definition) end
    redis.call('HINCRBY', tally, status .. '\n' .. definition, 1)
  end
end
if finished ~= '' then
  if at[4] then redis.call('SREM', p .. 'owned:' .. at[4], id) end
  redis.call('HDEL', saga, 'o', 'w', 'e')
  redis.call('ZADD', p .. 'ended', finished, id)
elseif at[4] ~= owner then
  if at[4] then redis.call('SREM', p .. 'owned:' .. at[4], id) end
  redis.call('HSET', saga, 'o', owner)
  redis.call('SADD', p .. 'owned:' .. owner, id)
end
local channel = nil
local function tell(name, message)
  channel = channel or string.match(p, '^{(.*):%d+}:$') .. ':'
  redis.call('PUBLISH', channel .. name, message)
end
if at[4] and at[4] ~= owner then tell('taken:' .. at[4], id) end
if redis.call('EXISTS', p .. 'await', p .. 'await:' .. id) > 0 then tell('heard', owner .. '\n' .. ARGV[9]) end
return redis.call('INCR', KEYS[1])
