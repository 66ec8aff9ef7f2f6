-- Counts the accounts of every role at one moment.
--
-- KEYS  1 gen  2, 3 av:<role>, n:<role> of the first role, 4, 5 of the second, ...
-- ARGV  1 pool id
-- Returns {status, {available, resting, leased, quarantined, retired, leases,
--          releases, reclaimed, peak} of the first role, of the second, ...}
--   status   OK or NOPOOL
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'NOPOOL'} end
local t = redis.call('TIME')
local now = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
local all = {'OK'}
for i = 2, #KEYS, 2 do
  local available = redis.call('ZCOUNT', KEYS[i], '-inf', now)
  local role = {available, redis.call('ZCARD', KEYS[i]) - available}
  local counts = redis.call('HMGET', KEYS[i + 1],
    'leased', 'quarantined', 'retired', 'leases', 'releases', 'reclaimed', 'peak')
  for j = 1, #counts do role[#role + 1] = tonumber(counts[j] or '0') end
  all[#all + 1] = role
end
return all
