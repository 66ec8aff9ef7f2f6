-- Retires quarantined accounts of one role.
--
-- KEYS  1 gen  2 quar  3 quarwhy  4 retired  5 n:<role>
-- ARGV  1 pool id  2 role  3.. ids (1 to 1000) of accounts of the role
-- Returns {status, retired}
--   status   OK or NOPOOL
--   An account that is not quarantined is passed over.
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'NOPOOL', 0} end
if #ARGV < 3 or #ARGV > 1002 then return redis.error_reply('ERR retire: number of accounts out of range') end
local scores = redis.call('ZMSCORE', KEYS[2], unpack(ARGV, 3))
local ids, retired = {}, {}
for i = 3, #ARGV do
  if scores[i - 2] then
    ids[#ids + 1] = ARGV[i]
    retired[#retired + 1] = ARGV[i]
    retired[#retired + 1] = ARGV[2]
  end
end
if #ids == 0 then return {'OK', 0} end
redis.call('ZREM', KEYS[2], unpack(ids))
redis.call('HDEL', KEYS[3], unpack(ids))
redis.call('HSET', KEYS[4], unpack(retired))
redis.call('HINCRBY', KEYS[5], 'quarantined', -#ids)
redis.call('HINCRBY', KEYS[5], 'retired', #ids)
return {'OK', #ids}
