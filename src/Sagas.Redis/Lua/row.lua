-- Writes a barrier row, if the turn is still the writer's: whoever was paused beyond its lease writes over nobody's row.
-- KEYS 1 row, 2 turn. ARGV 1 token, 2 row, 3 how long it is kept in ms ('': for ever). Answers 1; 0: the turn is lost.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
