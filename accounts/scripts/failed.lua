-- Counts creations that failed.
--
-- KEYS  1 gen  2 roles  3.. n:<role> of each role
-- ARGV  1 pool id  2 most roles a pool may have
--       then for each role: its name, how many more
-- Returns OK or NOPOOL
--   A role that would be one too many is passed over.
local status = enter()
if status ~= 'OK' then return status end
for i = 3, #KEYS do
  local role = ARGV[2 * i - 3]
  if redis.call('SISMEMBER', KEYS[2], role) == 1 or redis.call('SCARD', KEYS[2]) < tonumber(ARGV[2]) then
    -- Listed even without an account: who looks sees that it fails, and the
    -- count goes when the pool goes.
    redis.call('SADD', KEYS[2], role)
    redis.call('HINCRBY', KEYS[i], 'failed', ARGV[2 * i - 2])
  end
end
return 'OK'
