-- Frees what a holder of user numbers has that leaves or has not been heard of.
-- KEYS 1 holders  2 held (by it)  3.. free, one for each class
-- ARGV 1 holder id  2 '1' if it leaves; otherwise it must have run out
-- returns how many numbers it had, or -1 if it is alive
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local deadline = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ARGV[2] ~= '1' and deadline and tonumber(deadline) >= now then return -1 end
local held = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for i = 1, #held, 2 do
  redis.call('ZADD', KEYS[2 + tonumber(held[i + 1])], held[i], held[i])
end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
return #held / 2
