-- A member leaves, by itself or removed by the leader.
-- KEYS 1 members  2 states
-- ARGV 1.. member ids
-- returns how many were there
local n = redis.call('ZREM', KEYS[1], unpack(ARGV))
redis.call('HDEL', KEYS[2], unpack(ARGV))
return n
