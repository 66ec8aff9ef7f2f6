-- Makes intended accounts of one role known and available at once.
--
-- KEYS  1 gen  2 intents  3 idx  4 rec  5 ids  6 roles  7 av:<role>
-- ARGV  1 pool id  2 role  3 most roles a pool may have
--       then for each account (at most 1000): username, the record intended
-- Returns {status, confirmed}
--   status   OK; NOPOOL; ROLES the pool has its most roles and this is not one
--   An account that is not intended with this record is passed over.
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'NOPOOL', 0} end
if redis.call('SISMEMBER', KEYS[6], ARGV[2]) == 0 and redis.call('SCARD', KEYS[6]) >= tonumber(ARGV[3]) then
  return {'ROLES', 0}
end
local names = {}
for i = 4, #ARGV, 2 do names[#names + 1] = ARGV[i] end
if #names < 1 or #names > 1000 then return redis.error_reply('ERR confirm: number of accounts out of range') end
local intended = redis.call('HMGET', KEYS[2], unpack(names))
local take, seen = {}, {}
for i = 1, #names do
  if not seen[names[i]] and intended[i] == ARGV[3 + 2 * i] then
    seen[names[i]] = true
    take[#take + 1] = i
  end
end
if #take == 0 then return {'OK', 0} end

local t = redis.call('TIME')
local now = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
local id = redis.call('INCRBY', KEYS[5], #take) - #take
local idx, rec, av, done = {}, {}, {}, {}
for j = 1, #take do
  local i = take[j]
  local text = string.format('%.0f', id + j)
  idx[2 * j - 1], idx[2 * j] = names[i], text
  rec[2 * j - 1], rec[2 * j] = text, intended[i]
  av[2 * j - 1], av[2 * j] = now, text
  done[j] = names[i]
end
redis.call('SADD', KEYS[6], ARGV[2])
redis.call('HSET', KEYS[3], unpack(idx))
redis.call('HSET', KEYS[4], unpack(rec))
redis.call('ZADD', KEYS[7], unpack(av))
redis.call('HDEL', KEYS[2], unpack(done))
return {'OK', #take}
