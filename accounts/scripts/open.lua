-- Opens a holder. Its id must be new for ever: a holder that was taken for dead
-- must never find its name, and somebody else's accounts, alive again.
--
-- KEYS  1 gen  2 holders  3 h:<holder>  4 held:<holder>
-- ARGV  1 pool id  2 holder  3 lease TTL ms  4 name for people
-- Returns OK, NOPOOL, or EXISTS when the id was used before.
local status, now = enter()
if status ~= 'OK' then return status end
if redis.call('EXISTS', KEYS[3], KEYS[4]) > 0 or redis.call('ZSCORE', KEYS[2], ARGV[2]) then
  return 'EXISTS'
end
redis.call('HSET', KEYS[3], 'state', 'live', 'seq', '0', 'told', '0', 'name', ARGV[4], 'opened', string.format('%.0f', now))
redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[3])), ARGV[2])
return 'OK'
