-- Begins a process's turn with a step, and gives the step's barrier row. Nobody else has the turn until it is left, or its lease is over.
-- A process that could not leave, since Redis was away, may begin anew: it has one turn with a step at a time. What is still on its way from the turn before
-- has an older token, and finds the turn lost.
-- KEYS 1 row, 2 turn. ARGV 1 process, 2 number of its turn, 3 lease in ms; process and number are the token. Answers {1, row or nothing}, or {0, ms until the
-- other's lease is over}.
local holder, number = string.match(redis.call('GET', KEYS[2]) or '', '^(.*)%.(%d+)$')
if holder and (holder ~= ARGV[1] or tonumber(number) > tonumber(ARGV[2])) then return {0, redis.call('PTTL', KEYS[2])} end
redis.call('SET', KEYS[2], ARGV[1] .. '.' .. ARGV[2], 'PX', ARGV[3])
return {1, redis.call('GET', KEYS[1])}
