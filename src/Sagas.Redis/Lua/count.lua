-- How many sagas of a partition are in each status, without looking at any.
-- KEYS[1] the partition's counter. ARGV 1 partition, 2 definition ('': any), 3 started at or after, 4 started before, as bounds of ZCOUNT ('': any),
-- then, if only those with a tag count, its key and value; there is no start to go by then.
local counts = {}
if ARGV[5] then
  local tally = redis.call('HGETALL', ARGV[1] .. 'tally:' .. #ARGV[5] .. ':' .. ARGV[5] .. ':' .. ARGV[6])
  for status = 1, 7 do counts[status] = 0 end
  for i = 1, #tally, 2 do
    local status = tonumber(string.sub(tally[i], 1, 1)) + 1
    if ARGV[2] == '' or string.sub(tally[i], 3) == ARGV[2] then counts[status] = counts[status] + tally[i + 1] end
  end
  return counts
end
for status = 0, 6 do
  local key = ARGV[2] == '' and ARGV[1] .. 'status:' .. status or ARGV[1] .. 'definition:' .. status .. ':' .. ARGV[2]
  if ARGV[3] == '' and ARGV[4] == '' then counts[status + 1] = redis.call('ZCARD', key)
  else counts[status + 1] = redis.call('ZCOUNT', key, ARGV[3] == '' and '-inf' or ARGV[3], ARGV[4] == '' and '+inf' or ARGV[4]) end
end
return counts
