-- Retires accounts of one role that nobody holds.
--
-- KEYS  1 gen  2 retired  3 av:<role>  4 n:<role>
-- ARGV  1 pool id  2 role  3 how many at most (1 to 1000)
-- Returns {status, retired}
--   status   OK or NOPOOL
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'NOPOOL', 0} end
local n = tonumber(ARGV[3])
if n < 1 or n > 1000 then return redis.error_reply('ERR retire: n out of range') end
local ids = redis.call('ZRANGE', KEYS[3], 0, n - 1)
if #ids == 0 then return {'OK', 0} end
local retired = {}
for i = 1, #ids do
  retired[2 * i - 1], retired[2 * i] = ids[i], ARGV[2]
end
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, #ids - 1)
redis.call('HSET', KEYS[2], unpack(retired))
redis.call('HINCRBY', KEYS[4], 'retired', #ids)
return {'OK', #ids}
