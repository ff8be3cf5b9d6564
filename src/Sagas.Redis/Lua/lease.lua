-- Renews a node's lease by Redis' own clock. KEYS 1 leases, 2 nodes. ARGV 1 node, 2 its life (another for every process), 3 lease in ms, 4 started at.
-- Answers {1: renewed, 0: another process lives under this name, now, then of each node its name, when its lease ends, started at and heartbeat at}.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local known, ends = redis.call('HGET', KEYS[2], ARGV[1]), tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
local renewed = not known or string.match(known, '^[^|]*') == ARGV[2] or ends <= now
if renewed then
  redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
  redis.call('HSET', KEYS[2], ARGV[1], string.format('%s|%s|%.0f', ARGV[2], ARGV[4], now))
end
local result = {renewed and 1 or 0, string.format('%.0f', now)}
local leases = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #leases, 2 do
  local started, beat = string.match(redis.call('HGET', KEYS[2], leases[i]) or '|0|0', '^[^|]*|(%d+)|(%d+)$')
  for _, value in ipairs({leases[i], string.format('%.0f', leases[i + 1]), started, beat}) do result[#result + 1] = value end
end
return result
