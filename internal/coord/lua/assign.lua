-- Replaces the assignment of slots.
-- KEYS 1 leader  2 slots
-- ARGV 1 leader's id  2 nudge channel  3 version  4.. worker id, "version:bitmap", worker id, ...
-- returns 1, or -1 when deposed
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return -1 end
redis.call('HSET', KEYS[1], 'slots', ARGV[3])
redis.call('DEL', KEYS[2])
for i = 4, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
redis.call('PUBLISH', ARGV[2], '')
return 1
