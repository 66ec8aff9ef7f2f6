-- Takes members off the roll.
-- KEYS 1 leader  2 members  3 states
-- ARGV 1 leader's id  2.. member ids
-- returns 1, or -1 when deposed
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return -1 end
for i = 2, #ARGV do
  redis.call('ZREM', KEYS[2], ARGV[i])
  redis.call('HDEL', KEYS[3], ARGV[i])
end
return 1
