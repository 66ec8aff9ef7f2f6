-- Closes a holder and gives its accounts back, a batch a call. The holder does
-- it itself when it ends; the reclaimer does it for a holder that has expired.
-- The first call closes for good: from then on nothing is leased to the holder
-- and it cannot be renewed. Until the last call the holder stays listed, with
-- the score 0, so that any reclaimer can finish what another has begun.
--
-- KEYS  1 gen  2 holders  3 h:<holder>  4 held:<holder>  5 uses  6 retired
--       7.. av:<role>, n:<role>, by:<role>, want:<role> of the first role, of
--       the second, ...
-- ARGV  1 pool id  2 holder  3 the score that the reclaimer has seen, or ''
--       when the holder closes itself  4 lock-delay ms  5 rest ms
--       6 most uses, 0 for no limit  7 batch (at most 1000)  8.. the roles
-- Returns {status, moved, left}
--   status   OK; NOPOOL; GONE closed already; LIVE renewed since it was seen, or
--            not expired for as long as the lock-delay; ROLES an account has a
--            role whose keys were not given
local status, now = enter()
if status ~= 'OK' then return {status, 0, 0} end
local score = redis.call('ZSCORE', KEYS[2], ARGV[2])
if not score then return {'GONE', 0, 0} end
local batch, most = tonumber(ARGV[7]), tonumber(ARGV[6])
if batch < 1 or batch > 1000 then return redis.error_reply('ERR close: batch out of range') end
local h = redis.call('HMGET', KEYS[3], 'state', 'name')
local state = h[1]
local reclaims = ARGV[3] ~= ''
local closes = state ~= 'closing' and state ~= 'dead'
if reclaims and closes then
  if tonumber(score) ~= tonumber(ARGV[3]) then return {'LIVE', 0, 0} end
  if now <= tonumber(score) + tonumber(ARGV[4]) then return {'LIVE', 0, 0} end
end

local number = {}
for i = 8, #ARGV do number[ARGV[i]] = i - 7 end
local held = redis.call('HRANDFIELD', KEYS[4], batch, 'WITHVALUES')
local ids, names = {}, {}
for i = 1, #held, 2 do
  local role = string.match(held[i + 1], ' (.+)$')
  if not number[role] then return {'ROLES', 0, 0} end
  ids[#ids + 1], names[#names + 1] = held[i], role
end

local ready = string.format('%.0f', now + tonumber(ARGV[5]))
local used = most > 0 and #ids > 0 and redis.call('HMGET', KEYS[5], unpack(ids))
local uses, spent, back, given, retired = {}, {}, {}, {}, {}
for i = 1, #ids do
  local role, worn = number[names[i]], false
  if used then
    local count = tonumber(used[i] or '0') + 1
    worn = count >= most
    uses[#uses + 1] = ids[i]
    uses[#uses + 1] = count
  end
  given[role] = (given[role] or 0) + 1
  if worn then
    retired[role] = (retired[role] or 0) + 1
    spent[#spent + 1] = ids[i]
    spent[#spent + 1] = names[i]
  else
    back[role] = back[role] or {}
    table.insert(back[role], ready)
    table.insert(back[role], ids[i])
  end
end

if closes then
  state = reclaims and 'dead' or 'closing'
  redis.call('HSET', KEYS[3], 'state', state)
  redis.call('ZADD', KEYS[2], 0, ARGV[2])
end
if #ids > 0 then redis.call('HDEL', KEYS[4], unpack(ids)) end
if #uses > 0 then redis.call('HSET', KEYS[5], unpack(uses)) end
if #spent > 0 then redis.call('HSET', KEYS[6], unpack(spent)) end
for role, members in pairs(back) do redis.call('ZADD', KEYS[3 + 4 * role], unpack(members)) end
local member = ARGV[2] .. ' ' .. (h[2] or '')
for role, n in pairs(given) do
  local counts = KEYS[4 + 4 * role]
  redis.call('HINCRBY', counts, 'leased', -n)
  redis.call('HINCRBY', counts, state == 'dead' and 'reclaimed' or 'releases', n)
  if retired[role] then redis.call('HINCRBY', counts, 'retired', retired[role]) end
  redis.call('ZINCRBY', KEYS[5 + 4 * role], -n, member)
end
local left = redis.call('HLEN', KEYS[4])
if left == 0 then
  redis.call('UNLINK', KEYS[3], KEYS[4])
  redis.call('ZREM', KEYS[2], ARGV[2])
  for i = 8, #ARGV do
    redis.call('ZREM', KEYS[5 + 4 * (i - 7)], member)
    redis.call('HDEL', KEYS[6 + 4 * (i - 7)], ARGV[2])
  end
end
return {'OK', #ids, left}
