-- Removes retired accounts of one role from the pool.
--
-- KEYS  1 gen  2 rec  3 idx  4 retired  5 n:<role>
-- ARGV  1 pool id  2 role, then for each account (at most 1000): id, username
-- Returns {status, forgotten}
--   status   OK or NOPOOL
--   An account that is not retired with this role is passed over.
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'NOPOOL', 0} end
local ids = {}
for i = 3, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
if #ids < 1 or #ids > 1000 then return redis.error_reply('ERR forget: number of accounts out of range') end
local roles = redis.call('HMGET', KEYS[4], unpack(ids))
local forgotten = 0
for i = 1, #ids do
  if roles[i] == ARGV[2] and redis.call('HDEL', KEYS[4], ids[i]) == 1 then
    redis.call('HDEL', KEYS[2], ids[i])
    redis.call('HDEL', KEYS[3], ARGV[2 + 2 * i])
    forgotten = forgotten + 1
  end
end
if forgotten > 0 then redis.call('HINCRBY', KEYS[5], 'retired', -forgotten) end
return {'OK', forgotten}
