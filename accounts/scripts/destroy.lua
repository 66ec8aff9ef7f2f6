-- Deletes every key of the pool at once, so that no moment shows half a pool.
--
-- KEYS  1 gen  2 roles  3 holders  4.. every other key of the pool
-- ARGV  1 pool id  2 number of roles and  3 of holders that the keys are for
-- Returns OK, NOPOOL, or AGAIN when a role or a holder has come meanwhile.
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return 'NOPOOL' end
if redis.call('SCARD', KEYS[2]) ~= tonumber(ARGV[2]) then return 'AGAIN' end
if redis.call('ZCARD', KEYS[3]) ~= tonumber(ARGV[3]) then return 'AGAIN' end
for i = 1, #KEYS, 1000 do redis.call('UNLINK', unpack(KEYS, i, math.min(i + 999, #KEYS))) end
return 'OK'
