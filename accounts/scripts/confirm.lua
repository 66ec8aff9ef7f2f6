-- Makes intended accounts of one role known and available at once.
--
-- KEYS  1 gen  2 intents  3 idx  4 rec  5 ids  6 roles  7 av:<role>  8 n:<role>
--       and where accounts have a greatest age: 9 born
-- ARGV  1 pool id  2 key's id or ''  3 ids of all keys, each between spaces
--       4 role  5 most roles a pool may have
--       then for each account (at most 1000): username, the record as intended,
--       the record to keep
-- Returns {status, confirmed, again}
--   status   OK; NOPOOL; KEY the caller lacks the pool's key; ROLES the pool has
--            its most roles and this is not one
--   again    how many are intended with another record, and were passed over
--   An account that is not intended any more is passed over.
local status, now, frozen, t = enter()
if status ~= 'OK' then return {status, 0, 0} end
if not keyed() then return {'KEY', 0, 0} end
if redis.call('SISMEMBER', KEYS[6], ARGV[4]) == 0 and redis.call('SCARD', KEYS[6]) >= tonumber(ARGV[5]) then
  return {'ROLES', 0, 0}
end
local names = {}
for i = 6, #ARGV, 3 do names[#names + 1] = ARGV[i] end
if #names < 1 or #names > 1000 then return redis.error_reply('ERR confirm: number of accounts out of range') end
local intended = redis.call('HMGET', KEYS[2], unpack(names))
local known = redis.call('HMGET', KEYS[3], unpack(names))
local take, seen, again = {}, {}, 0
for i = 1, #names do
  if intended[i] and not known[i] and not seen[names[i]] then
    seen[names[i]] = true
    if intended[i] == ARGV[4 + 3 * i] then take[#take + 1] = i else again = again + 1 end
  end
end
if #take == 0 then return {'OK', 0, again} end

-- Redis may have lost the last ids that it gave. Somebody may still hold the
-- account that one of them stood for, and it must not stand for another: once
-- Redis was restarted, ids are ahead of the clock, as tokens are.
local id = tonumber(redis.call('GET', KEYS[5]) or '0')
if frozen > 0 then id = math.max(id, t[1] * 1000000 + t[2]) end
local idx, rec, av, done = {}, {}, {}, {}
local stamp = string.format('%.0f', now)
for j = 1, #take do
  local i = take[j]
  local text = string.format('%.0f', id + j)
  idx[2 * j - 1], idx[2 * j] = names[i], text
  rec[2 * j - 1], rec[2 * j] = text, ARGV[5 + 3 * i]
  av[2 * j - 1], av[2 * j] = stamp, text
  done[j] = names[i]
end
remember()
redis.call('SET', KEYS[5], string.format('%.0f', id + #take))
redis.call('SADD', KEYS[6], ARGV[4])
redis.call('HSET', KEYS[3], unpack(idx))
redis.call('HSET', KEYS[4], unpack(rec))
redis.call('ZADD', KEYS[7], unpack(av))
if KEYS[9] then redis.call('ZADD', KEYS[9], unpack(av)) end
redis.call('HDEL', KEYS[2], unpack(done))
redis.call('HINCRBY', KEYS[8], 'created', #take)
return {'OK', #take, again}
