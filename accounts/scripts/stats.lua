-- Counts the accounts of every role at one moment.
--
-- KEYS  1 gen  2.. av:<role>, n:<role>, by:<role>, want:<role> of the first
--       role, of the second, ...
-- ARGV  1 pool id  2 number of buckets of the waits
-- Returns {status, frozen ms, {available, resting, waiting, leased, quarantined,
--          retired, leases, releases, reclaimed, peak, created, failed, then the
--          waits by bucket} of the first role, of the second, ...}
--   status   OK or NOPOOL
local status, now, frozen = enter()
if status ~= 'OK' then return {status} end
local fields = {'leased', 'quarantined', 'retired', 'leases', 'releases', 'reclaimed', 'peak', 'created', 'failed'}
for bucket = 0, tonumber(ARGV[2]) - 1 do fields[#fields + 1] = 'w' .. string.format('%.0f', bucket) end
local all = {status, math.max(0, frozen - now)}
for i = 2, #KEYS, 4 do
  local available = redis.call('ZCOUNT', KEYS[i], '-inf', string.format('%.0f', now))
  local waiting = 0
  for _, n in ipairs(redis.call('HVALS', KEYS[i + 3])) do waiting = waiting + tonumber(n) end
  local role = {available, redis.call('ZCARD', KEYS[i]) - available, waiting}
  local counts = redis.call('HMGET', KEYS[i + 1], unpack(fields))
  for j = 1, #counts do role[#role + 1] = tonumber(counts[j] or '0') end
  all[#all + 1] = role
end
return all
