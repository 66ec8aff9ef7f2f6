-- Replaces the plan.
-- KEYS 1 leader  2 plan
-- ARGV 1 leader's id  2 plan body  3 nudge channel  4 newest plan version that the leader knows of
-- returns the plan's new version, or -1 when deposed
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return -1 end
local version = math.max(tonumber(redis.call('HGET', KEYS[2], 'version') or '0'), tonumber(ARGV[4])) + 1
redis.call('HSET', KEYS[2], 'version', string.format('%.0f', version), 'body', ARGV[2])
redis.call('PUBLISH', ARGV[3], '')
return version
