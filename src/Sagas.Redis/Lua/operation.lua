-- Keeps an operation's next version. KEYS 1 operations. ARGV 1 id, 2 version before, 3 the operation as JSON. Answers 1; 0: another version is kept.
local kept = redis.call('HGET', KEYS[1], ARGV[1])
-- The same again, because its answer was lost.
if kept == ARGV[3] then return 1 end
if (kept and cjson.decode(kept).version or 0) ~= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
