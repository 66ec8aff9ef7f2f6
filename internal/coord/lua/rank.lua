-- A bridged worker says that it is there, and learns its number among them: the
-- lowest that was free when it came.
-- KEYS 1 bridged  2 ranks  3 leader
-- ARGV 1 worker id  2 ms that this holds  3 '1': in touch with its Locust master, '0': not, '': it leaves
-- returns {its number, 1 if it is the lowest-numbered of those in touch (or of all, if none is),
--          how many others are in touch, ms that remain of the leader's lease}
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local away = 1000000 -- added to the number of a worker that is not in touch
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now), 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
end
local old = redis.call('HGET', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
local taken, lowest, others = {}, nil, 0
for _, text in ipairs(redis.call('HVALS', KEYS[2])) do
  local v = tonumber(text)
  taken[v % away] = true
  if not lowest or v < lowest then lowest = v end
  if v < away then others = others + 1 end
end
local number = old and tonumber(old) % away
if not number then
  number = 0
  while taken[number] do number = number + 1 end
end
local own = number
if ARGV[3] ~= '1' then own = number + away end
if ARGV[3] ~= '' then
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
  redis.call('HSET', KEYS[2], ARGV[1], own)
  redis.call('PEXPIRE', KEYS[1], 10 * ARGV[2])
  redis.call('PEXPIRE', KEYS[2], 10 * ARGV[2])
end
local remaining = (tonumber(redis.call('HGET', KEYS[3], 'until') or '0') or 0) - now
return {number, (not lowest or own < lowest) and 1 or 0, others, math.max(0, remaining)}
