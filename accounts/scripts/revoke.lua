-- Takes a holder's registration away. It learns that with its next renewal; its
-- accounts come back as a dead holder's, when it can no longer use them.
--
-- KEYS  1 gen  2 h:<holder>
-- ARGV  1 pool id
-- Returns OK, NOPOOL, or GONE when the holder is not live.
local status = enter()
if status ~= 'OK' then return status end
if redis.call('HGET', KEYS[2], 'state') ~= 'live' then return 'GONE' end
redis.call('HSET', KEYS[2], 'state', 'revoked')
return 'OK'
