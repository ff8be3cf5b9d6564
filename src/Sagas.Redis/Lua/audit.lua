-- What operators did, newest first. KEYS 1 audit. ARGV 1 from where down, as ZREVRANGEBYLEX has it, 2 how many at most. Answers members.
return redis.call('ZREVRANGEBYLEX', KEYS[1], ARGV[1], '-', 'LIMIT', 0, ARGV[2])
