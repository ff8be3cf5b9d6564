-- Forgets finished sagas and all that leads to them. Only what has ended is in 'ended', so nothing unfinished is ever forgotten.
-- KEYS[1] the partition's counter. ARGV 1 partition, 2 forget what ended at or before, 3 most of them. Answers how many were forgotten.
local p = ARGV[1]
local ids = redis.call('ZRANGEBYSCORE', p .. 'ended', '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])
for _, id in ipairs(ids) do
  local saga = p .. 'saga:' .. id
  local f = redis.call('HMGET', saga, 'n', 'd', 't')
  if f[1] then
    redis.call('ZREM', p .. 'status:' .. f[1], id)
    redis.call('ZREM', p .. 'definition:' .. f[1] .. ':' .. f[2], id)
    if f[3] then
      for key, value in pairs(cjson.decode(f[3])) do
        redis.call('ZREM', p .. 'value:' .. value, id)
        local tally, field = p .. 'tally:' .. #key .. ':' .. key .. ':' .. value, f[1] .. '\n' .. f[2]
        if redis.call('HINCRBY', tally, field, -1) <= 0 then redis.call('HDEL', tally, field) end
      end
    end
  end
  redis.call('ZREM', p .. 'ids', id)
  redis.call('ZREM', p .. 'ended', id)
  redis.call('DEL', saga, p .. 'history:' .. id)
end
return #ids
