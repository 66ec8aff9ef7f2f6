-- Does what is due without anybody's asking: quarantined accounts whose time is
-- over become available, and available ones that are too old retire.
--
-- KEYS  1 gen  2 quar  3 quarwhy  4 born  5 retired  6 av:<role>  7 n:<role>
-- ARGV  1 pool id  2 role  3 'free' or 'retire'  4 greatest age ms, for 'retire'
--       5.. ids of accounts of the role (1 to 1000)
-- Returns {status, {id that was moved, ...}}
--   status   OK, NOPOOL, FROZEN
--   An account that is not due any more, or is not there, is passed over.
local status, now, frozen = enter()
if status ~= 'OK' then return {status, {}} end
if now < frozen then return {'FROZEN', {}} end
local n = #ARGV - 4
if n < 1 or n > 1000 then return redis.error_reply('ERR sweep: number of accounts out of range') end
local moved = {}
if ARGV[3] == 'free' then
  local untils = redis.call('ZMSCORE', KEYS[2], unpack(ARGV, 5))
  for i = 1, n do
    if untils[i] and tonumber(untils[i]) <= now then
      redis.call('ZREM', KEYS[2], ARGV[4 + i])
      redis.call('HDEL', KEYS[3], ARGV[4 + i])
      redis.call('ZADD', KEYS[6], string.format('%.0f', now), ARGV[4 + i])
      moved[#moved + 1] = ARGV[4 + i]
    end
  end
  if #moved > 0 then redis.call('HINCRBY', KEYS[7], 'quarantined', -#moved) end
else
  local born = redis.call('ZMSCORE', KEYS[4], unpack(ARGV, 5))
  for i = 1, n do
    local id = ARGV[4 + i]
    if born[i] and tonumber(born[i]) + tonumber(ARGV[4]) <= now and redis.call('ZREM', KEYS[6], id) == 1 then
      redis.call('ZREM', KEYS[4], id)
      redis.call('HSET', KEYS[5], id, ARGV[2])
      moved[#moved + 1] = ARGV[4 + i]
    end
  end
  if #moved > 0 then redis.call('HINCRBY', KEYS[7], 'retired', #moved) end
end
return {'OK', moved}
