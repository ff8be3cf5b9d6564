-- How many sagas of a partition are in each status, without looking at any.
-- KEYS[1] the partition's counter. ARGV 1 partition, 2 definition ('': any), 3 started at or after, 4 started before, as bounds of ZCOUNT ('': any).
local counts = {}
for status = 0, 6 do
  local key = ARGV[2] == '' and ARGV[1] .. 'status:' .. status or ARGV[1] .. 'definition:' .. status .. ':' .. ARGV[2]
  if ARGV[3] == '' and ARGV[4] == '' then counts[status + 1] = redis.call('ZCARD', key)
  else counts[status + 1] = redis.call('ZCOUNT', key, ARGV[3] == '' and '-inf' or ARGV[3], ARGV[4] == '' and '+inf' or ARGV[4]) end
end
return counts
