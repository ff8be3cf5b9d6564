-- Ends a node's lease at once, or forgets a node that is long gone. KEYS 1 leases, 2 nodes. ARGV 1 node, 2 its life ('': forget the node if its lease ended
-- before ARGV 3, in ms).
if ARGV[2] == '' then
  if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0) >= tonumber(ARGV[3]) then return 0 end
  redis.call('HDEL', KEYS[2], ARGV[1])
  return redis.call('ZREM', KEYS[1], ARGV[1])
end
if string.match(redis.call('HGET', KEYS[2], ARGV[1]) or '', '^[^|]*') ~= ARGV[2] then return 0 end
return redis.call('ZADD', KEYS[1], 'XX', 'CH', 0, ARGV[1])
