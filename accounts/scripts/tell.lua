-- Adds to how long accounts of each role were waited for. A call whose number
-- has been seen changes nothing. Waits for a role that the pool does not have
-- are not counted: nothing would ever delete the count.
--
-- KEYS  1 gen  2 h:<holder>  3 roles  4.. n:<role> of each count that follows
-- ARGV  1 pool id  2 number of the call, then for each count: role, field, number
-- Returns OK, NOPOOL or GONE.
local status = enter()
if status ~= 'OK' then return status end
local told = redis.call('HGET', KEYS[2], 'told')
if not told then return 'GONE' end
if tonumber(told) >= tonumber(ARGV[2]) then return 'OK' end
for i = 4, #KEYS do
  local at = 3 * (i - 3)
  if redis.call('SISMEMBER', KEYS[3], ARGV[at]) == 1 then
    redis.call('HINCRBY', KEYS[i], ARGV[at + 1], ARGV[at + 2])
  end
end
redis.call('HSET', KEYS[2], 'told', ARGV[2])
return 'OK'
