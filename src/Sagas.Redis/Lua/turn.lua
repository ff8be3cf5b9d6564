-- Begins a process's turn with a step, and gives the step's barrier row. Nobody else has the turn until it is left, or its lease is over.
-- KEYS 1 row, 2 turn. ARGV 1 token, 2 lease in ms. Answers {1, row or nothing}, or {0, ms until the other's lease is over}.
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return {0, redis.call('PTTL', KEYS[2])} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {1, redis.call('GET', KEYS[1])}
