-- Gives sagas of one node to another. KEYS[1] the partition's counter. ARGV 1 partition, 2 owner, 3 new owner, 4 most of them.
-- Answers how many are left, then the state of each that changed hands.
local p, from, to = ARGV[1], ARGV[2], ARGV[3]
local mine, theirs = p .. 'owned:' .. to, p .. 'owned:' .. from
local result = {0}
for _, id in ipairs(redis.call('SRANDMEMBER', theirs, ARGV[4])) do
  local saga = p .. 'saga:' .. id
  local f = redis.call('HMGET', saga, 'o', 's')
  redis.call('SREM', theirs, id)
  if f[1] == from then
    redis.call('HSET', saga, 'o', to)
    redis.call('SADD', mine, id)
    result[#result + 1] = f[2]
  end
end
result[1] = redis.call('SCARD', theirs)
return result
