-- Renews a holder, and with it all its leases. A holder that has expired but
-- has not been closed lives on: nobody else has had its accounts.
--
-- KEYS  1 gen  2 holders  3 h:<holder>
-- ARGV  1 pool id  2 holder  3 lease TTL ms
-- Returns OK, NOPOOL, or GONE when the holder is closed, closing or unknown.
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return 'NOPOOL' end
if redis.call('HGET', KEYS[3], 'state') ~= 'live' then return 'GONE' end
if not redis.call('ZSCORE', KEYS[2], ARGV[2]) then return 'GONE' end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[2], 'XX', 'GT', string.format('%.0f', now + tonumber(ARGV[3])), ARGV[2])
return 'OK'
