-- Ends a turn, or prolongs it. KEYS[1] turn. ARGV 1 token, 2 lease in ms ('': it ends). Answers 0: it was lost before.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
