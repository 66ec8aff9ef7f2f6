-- Renews a holder, and with it all its leases. A holder that has expired but
-- has not been closed lives on: nobody else has had its accounts.
--
-- KEYS  1 gen  2 holders  3 h:<holder>
-- ARGV  1 pool id  2 holder  3 lease TTL ms  4 number of the last call that was
--       answered
-- Returns OK; NOPOOL; GONE when the holder is closed, closing, revoked or
--         unknown; RESYNC when that call is not known here: writes were lost, and
--         nothing is renewed before the holder has said what it holds.
local status, now = enter()
if status ~= 'OK' then return status end
local h = redis.call('HMGET', KEYS[3], 'state', 'seq')
if h[1] ~= 'live' or not redis.call('ZSCORE', KEYS[2], ARGV[2]) then return 'GONE' end
if tonumber(h[2]) < tonumber(ARGV[4]) then return 'RESYNC' end
redis.call('ZADD', KEYS[2], 'XX', 'GT', string.format('%.0f', now + tonumber(ARGV[3])), ARGV[2])
return 'OK'
