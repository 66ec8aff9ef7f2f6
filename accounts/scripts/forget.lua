-- Removes retired accounts of one role from the pool.
--
-- KEYS  1 gen  2 rec  3 idx  4 retired  5 uses  6 born  7 n:<role>
-- ARGV  1 pool id  2 role, then for each account (at most 1000): id, username
-- Returns {status, forgotten}
--   status   OK or NOPOOL
--   An account that is not retired with this role is passed over.
local status = enter()
if status ~= 'OK' then return {status, 0} end
local ids = {}
for i = 3, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
if #ids < 1 or #ids > 1000 then return redis.error_reply('ERR forget: number of accounts out of range') end
local roles = redis.call('HMGET', KEYS[4], unpack(ids))
local gone, names, seen = {}, {}, {}
for i = 1, #ids do
  if roles[i] == ARGV[2] and not seen[ids[i]] then
    seen[ids[i]] = true
    gone[#gone + 1], names[#names + 1] = ids[i], ARGV[2 + 2 * i]
  end
end
if #gone == 0 then return {'OK', 0} end
redis.call('HDEL', KEYS[4], unpack(gone))
redis.call('HDEL', KEYS[2], unpack(gone))
redis.call('HDEL', KEYS[3], unpack(names))
redis.call('HDEL', KEYS[5], unpack(gone))
redis.call('ZREM', KEYS[6], unpack(gone))
redis.call('HINCRBY', KEYS[7], 'retired', -#gone)
return {'OK', #gone}
