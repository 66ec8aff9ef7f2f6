-- Gives the leader's lease back, if the caller still has it.
-- KEYS 1 leader
-- ARGV 1 leader's id
-- returns 1 when it was given back, 0 when it had been lost
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'until', '0')
return 1
