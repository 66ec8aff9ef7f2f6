-- Records that accounts are about to be created in the target.
--
-- KEYS  1 gen  2 idx  3 intents
-- ARGV  1 pool id  2 key's id or ''  3 ids of all keys, each between spaces
--       then for each account (at most 1000): username, record
-- Returns {status, added}
--   status   OK, NOPOOL, or KEY when the caller lacks the pool's key
--   added    how many were neither known nor intended before
local status = enter()
if status ~= 'OK' then return {status, 0} end
if not keyed() then return {'KEY', 0} end
local names = {}
for i = 4, #ARGV, 2 do names[#names + 1] = ARGV[i] end
if #names < 1 or #names > 1000 then return redis.error_reply('ERR intend: number of accounts out of range') end
local known = redis.call('HMGET', KEYS[2], unpack(names))
remember()
local added = 0
for i = 1, #names do
  if not known[i] then
    added = added + redis.call('HSETNX', KEYS[3], names[i], ARGV[2 * i + 3])
  end
end
return {'OK', added}
