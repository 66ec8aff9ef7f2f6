-- Records that accounts are about to be created in the target.
--
-- KEYS  1 gen  2 idx  3 intents
-- ARGV  1 pool id, then for each account (at most 1000): username, record
-- Returns {status, added}
--   status   OK or NOPOOL
--   added    how many were neither known nor intended before
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'NOPOOL', 0} end
local names = {}
for i = 2, #ARGV, 2 do names[#names + 1] = ARGV[i] end
if #names < 1 or #names > 1000 then return redis.error_reply('ERR intend: number of accounts out of range') end
local known = redis.call('HMGET', KEYS[2], unpack(names))
local added = 0
for i = 1, #names do
  if not known[i] then
    added = added + redis.call('HSETNX', KEYS[3], names[i], ARGV[2 * i + 1])
  end
end
return {'OK', added}
