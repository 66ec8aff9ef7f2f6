-- Gives accounts back, each only for the token it is held with: somebody who
-- has lost an account cannot take it from whoever has it now.
--
-- KEYS  1 gen  2 h:<holder>  3 held:<holder>  4 quar  5 quarwhy
--       6, 7 av:<role>, n:<role> of the first role, 8, 9 of the second, ...
-- ARGV  1 pool id  2 sequence number  3 rest ms  4 number of roles
--       5.. how many accounts there are of each role
--       then for each account (at most 1000), those of the first role first: id,
--       'token role' as held, why it goes into quarantine or '' when it does not
-- Returns {status, {stale id, ...}}
--   status   OK; DUP the call was done before; NOPOOL; GONE no such live holder;
--            STALE an older number than the holder's last
--   stale id an account that is not held with the token: nothing was changed
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'NOPOOL', {}} end
local h = redis.call('HMGET', KEYS[2], 'state', 'seq')
if h[1] ~= 'live' then return {'GONE', {}} end
local seq, last = tonumber(ARGV[2]), tonumber(h[2])
if seq == last then return {'DUP', {}} end
if seq < last then return {'STALE', {}} end
local roles = tonumber(ARGV[4])
local ids, n = {}, 0
for at = 5 + roles, #ARGV, 3 do
  n = n + 1
  ids[n] = ARGV[at]
end
if n < 1 or n > 1000 then return redis.error_reply('ERR release: number of accounts out of range') end

local t = redis.call('TIME')
local ready = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000) + tonumber(ARGV[3]))
local held = redis.call('HMGET', KEYS[3], unpack(ids))
local gone, g, stale, bad, why, seen = {}, 0, {}, {}, {}, {}
local back, good, refused = {}, {}, {} -- of each role: members of ZADD, and how many
local i, at = 0, 5 + roles
for role = 1, roles do
  local members, k, q = {}, 0, 0
  for _ = 1, tonumber(ARGV[4 + role]) do
    i = i + 1
    local id = ids[i]
    if held[i] ~= ARGV[at + 1] or seen[id] then
      stale[#stale + 1] = id
    else
      seen[id] = true
      g = g + 1
      gone[g] = id
      if ARGV[at + 2] == '' then
        members[k + 1], members[k + 2] = ready, id
        k = k + 2
      else
        q = q + 1
        bad[#bad + 1] = 'inf'
        bad[#bad + 1] = id
        why[#why + 1] = id
        why[#why + 1] = ARGV[at + 2]
      end
    end
    at = at + 3
  end
  back[role], good[role], refused[role] = members, k / 2, q
end

if g > 0 then redis.call('HDEL', KEYS[3], unpack(gone)) end
if #bad > 0 then
  redis.call('ZADD', KEYS[4], unpack(bad))
  redis.call('HSET', KEYS[5], unpack(why))
end
for role = 1, roles do
  local counts, given = KEYS[5 + 2 * role], good[role] + refused[role]
  if good[role] > 0 then redis.call('ZADD', KEYS[4 + 2 * role], unpack(back[role])) end
  if given > 0 then
    redis.call('HINCRBY', counts, 'leased', -given)
    redis.call('HINCRBY', counts, 'releases', given)
  end
  if refused[role] > 0 then redis.call('HINCRBY', counts, 'quarantined', refused[role]) end
end
redis.call('HSET', KEYS[2], 'seq', ARGV[2])
redis.call('HDEL', KEYS[2], 'token', 'ids')
return {'OK', stale}
