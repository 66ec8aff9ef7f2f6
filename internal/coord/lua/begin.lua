-- Begins a run: everything of the run before is dropped.
-- KEYS 1 leader  2 run  3 plan  4 slots  5 stats  6 saved
-- ARGV 1 leader's id  2 run id  3 protocol  4 spec  5 plan body  6 nudge channel  7 newest plan version that the leader knows of
-- returns the plan's version, or -1 when deposed
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return -1 end
local t = redis.call('TIME')
redis.call('HDEL', KEYS[1], 'slots')
redis.call('DEL', KEYS[2], KEYS[4], KEYS[5], KEYS[6])
redis.call('HSET', KEYS[2], 'id', ARGV[2], 'protocol', ARGV[3], 'spec', ARGV[4],
  'started', string.format('%.0f', t[1] * 1000000 + t[2]))
local version = math.max(tonumber(redis.call('HGET', KEYS[3], 'version') or '0'), tonumber(ARGV[7])) + 1
redis.call('HSET', KEYS[3], 'version', string.format('%.0f', version), 'body', ARGV[5])
redis.call('PUBLISH', ARGV[6], '')
return version
