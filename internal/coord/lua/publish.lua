-- Replaces the plan.
-- KEYS 1 leader  2 plan
-- ARGV 1 epoch  2 plan body  3 nudge channel
-- returns the plan's new version, or -1 when deposed
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return -1 end
redis.call('HSET', KEYS[2], 'body', ARGV[2])
local version = redis.call('HINCRBY', KEYS[2], 'version', 1)
redis.call('PUBLISH', ARGV[3], '')
return version
