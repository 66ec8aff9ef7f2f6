-- Makes accounts of one role known and available at once that are in the target
-- already.
--
-- KEYS  1 gen  2 intents  3 idx  4 rec  5 ids  6 roles  7 av:<role>
--       and where accounts have a greatest age: 8 born
-- ARGV  1 pool id  2 key's id or ''  3 ids of all keys, each between spaces
--       4 role  5 most roles a pool may have
--       then for each account (at most 1000, no username twice): username, record
-- Returns {status, added, {username that is known or intended, ...}}
--   status   OK; NOPOOL; KEY the caller lacks the pool's key; ROLES the pool has
--            its most roles and this is not one
--   An account that is known or intended is passed over.
local status, now, frozen, t = enter()
if status ~= 'OK' then return {status, 0, {}} end
if not keyed() then return {'KEY', 0, {}} end
if redis.call('SISMEMBER', KEYS[6], ARGV[4]) == 0 and redis.call('SCARD', KEYS[6]) >= tonumber(ARGV[5]) then
  return {'ROLES', 0, {}}
end
local names = {}
for i = 6, #ARGV, 2 do names[#names + 1] = ARGV[i] end
if #names < 1 or #names > 1000 then return redis.error_reply('ERR import: number of accounts out of range') end
local intended = redis.call('HMGET', KEYS[2], unpack(names))
local known = redis.call('HMGET', KEYS[3], unpack(names))

-- Ids are ahead of the clock once Redis was restarted: see confirm.lua.
local id = tonumber(redis.call('GET', KEYS[5]) or '0')
if frozen > 0 then id = math.max(id, t[1] * 1000000 + t[2]) end
local idx, rec, av, passed, n = {}, {}, {}, {}, 0
local stamp = string.format('%.0f', now)
for i = 1, #names do
  if intended[i] or known[i] then
    passed[#passed + 1] = names[i]
  else
    n = n + 1
    local text = string.format('%.0f', id + n)
    idx[2 * n - 1], idx[2 * n] = names[i], text
    rec[2 * n - 1], rec[2 * n] = text, ARGV[5 + 2 * i]
    av[2 * n - 1], av[2 * n] = stamp, text
  end
end
if n == 0 then return {'OK', 0, passed} end
remember()
redis.call('SET', KEYS[5], string.format('%.0f', id + n))
redis.call('SADD', KEYS[6], ARGV[4])
redis.call('HSET', KEYS[3], unpack(idx))
redis.call('HSET', KEYS[4], unpack(rec))
redis.call('ZADD', KEYS[7], unpack(av))
if KEYS[8] then redis.call('ZADD', KEYS[8], unpack(av)) end
return {'OK', n, passed}
