-- Counts what is in every place, all at one moment. It changes nothing.
--
-- KEYS  1 gen  2 rec  3 idx  4 quar  5 quarwhy  6 retired  7 roles  8 holders
--       9.. av:<role>, n:<role>, by:<role>, want:<role> of each role, then
--       held:<holder> of each holder
-- ARGV  1 pool id  2 number of roles  3.. the holders
-- Returns {status, records, indexed, quarantined, reasons, retired, held,
--          {available, leased, quarantined, retired} of each role, the last three
--          as counted in n:<role>}
--   status   OK; NOPOOL; AGAIN a role or a holder has come or gone
local status = enter()
if status ~= 'OK' then return {status} end
local roles, holders = tonumber(ARGV[2]), #ARGV - 2
if redis.call('SCARD', KEYS[7]) ~= roles or redis.call('ZCARD', KEYS[8]) ~= holders then return {'AGAIN'} end
local held = 0
if holders > 0 then
  local there = redis.call('ZMSCORE', KEYS[8], unpack(ARGV, 3))
  for i = 1, holders do
    if not there[i] then return {'AGAIN'} end
    held = held + redis.call('HLEN', KEYS[8 + 4 * roles + i])
  end
end
local all = {'OK', redis.call('HLEN', KEYS[2]), redis.call('HLEN', KEYS[3]), redis.call('ZCARD', KEYS[4]),
  redis.call('HLEN', KEYS[5]), redis.call('HLEN', KEYS[6]), held}
for role = 0, roles - 1 do
  local c = redis.call('HMGET', KEYS[10 + 4 * role], 'leased', 'quarantined', 'retired')
  all[#all + 1] = {redis.call('ZCARD', KEYS[9 + 4 * role]),
    tonumber(c[1] or '0'), tonumber(c[2] or '0'), tonumber(c[3] or '0')}
end
return all
