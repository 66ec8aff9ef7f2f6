-- Closes a holder and gives its accounts back, a batch a call. The holder does
-- it itself when it ends; the reclaimer does it for a holder that has expired.
-- The first call closes for good: from then on nothing is leased to the holder
-- and it cannot be renewed. Until the last call the holder stays listed, with
-- the score 0, so that any reclaimer can finish what another has begun.
--
-- KEYS  1 gen  2 holders  3 h:<holder>  4 held:<holder>
--       5, 6 av:<role>, n:<role> of the first role, 7, 8 of the second, ...
-- ARGV  1 pool id  2 holder  3 the score that the reclaimer has seen, or ''
--       when the holder closes itself  4 lock-delay ms  5 rest ms
--       6 batch (at most 1000)  7.. the roles
-- Returns {status, moved, left}
--   status   OK; NOPOOL; GONE closed already; LIVE renewed since it was seen, or
--            not expired for as long as the lock-delay; ROLES an account has a
--            role whose keys were not given
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'NOPOOL', 0, 0} end
local score = redis.call('ZSCORE', KEYS[2], ARGV[2])
if not score then return {'GONE', 0, 0} end
local batch = tonumber(ARGV[6])
if batch < 1 or batch > 1000 then return redis.error_reply('ERR close: batch out of range') end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local state = redis.call('HGET', KEYS[3], 'state')
local reclaims = ARGV[3] ~= ''
local closes = state ~= 'closing' and state ~= 'dead'
if reclaims and closes then
  if tonumber(score) ~= tonumber(ARGV[3]) then return {'LIVE', 0, 0} end
  if now <= tonumber(score) + tonumber(ARGV[4]) then return {'LIVE', 0, 0} end
end

local number = {}
for i = 7, #ARGV do number[ARGV[i]] = i - 6 end
local held = redis.call('HRANDFIELD', KEYS[4], batch, 'WITHVALUES')
local ready = string.format('%.0f', now + tonumber(ARGV[5]))
local ids, back = {}, {}
for i = 1, #held, 2 do
  local role = number[string.match(held[i + 1], ' (.+)$')]
  if not role then return {'ROLES', 0, 0} end
  ids[#ids + 1] = held[i]
  back[role] = back[role] or {}
  table.insert(back[role], ready)
  table.insert(back[role], held[i])
end

if closes then
  state = reclaims and 'dead' or 'closing'
  redis.call('HSET', KEYS[3], 'state', state)
  redis.call('ZADD', KEYS[2], 0, ARGV[2])
end
if #ids > 0 then redis.call('HDEL', KEYS[4], unpack(ids)) end
for role, members in pairs(back) do
  local av, n = KEYS[3 + 2 * role], KEYS[4 + 2 * role]
  redis.call('ZADD', av, unpack(members))
  redis.call('HINCRBY', n, 'leased', -#members / 2)
  redis.call('HINCRBY', n, state == 'dead' and 'reclaimed' or 'releases', #members / 2)
end
local left = redis.call('HLEN', KEYS[4])
if left == 0 then
  redis.call('UNLINK', KEYS[3], KEYS[4])
  redis.call('ZREM', KEYS[2], ARGV[2])
end
return {'OK', #ids, left}
