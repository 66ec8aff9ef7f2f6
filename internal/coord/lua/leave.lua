-- A member leaves.
-- KEYS 1 members  2 states
-- ARGV 1 member id
-- returns 1 if it was there, else 0
local n = redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return n
