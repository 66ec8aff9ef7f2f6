-- Retires accounts of one role that nobody holds, those first that have been
-- ready longest.
--
-- KEYS  1 gen  2 retired  3 born  4 av:<role>  5 n:<role>
-- ARGV  1 pool id  2 role  3 how many at most (1 to 1000)
-- Returns {status, retired}
--   status   OK, NOPOOL, or FROZEN: somebody may hold what Redis has as free
local status, now, frozen = enter()
if status ~= 'OK' then return {status, 0} end
if now < frozen then return {'FROZEN', 0} end
local n = tonumber(ARGV[3])
if n < 1 or n > 1000 then return redis.error_reply('ERR retire: n out of range') end
local ids = redis.call('ZRANGE', KEYS[4], 0, n - 1)
if #ids == 0 then return {'OK', 0} end
local retired = {}
for i = 1, #ids do
  retired[2 * i - 1], retired[2 * i] = ids[i], ARGV[2]
end
redis.call('ZREMRANGEBYRANK', KEYS[4], 0, #ids - 1)
redis.call('ZREM', KEYS[3], unpack(ids))
redis.call('HSET', KEYS[2], unpack(retired))
redis.call('HINCRBY', KEYS[5], 'retired', #ids)
return {'OK', #ids}
