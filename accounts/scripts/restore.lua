-- Makes quarantined accounts of one role available at once.
--
-- KEYS  1 gen  2 idx  3 quar  4 quarwhy  5 retired  6 av:<role>  7 n:<role>
-- ARGV  1 pool id  then for each account (at most 1000, none twice): id, username
-- Returns {status, {place of each}}
--   status   OK, NOPOOL, or FROZEN, as for everything that moves accounts
--   place    done; unknown the pool has no such account any more; leased; or
--            elsewhere: free already, or retired
local status, now, frozen = enter()
if status ~= 'OK' then return {status, {}} end
if now < frozen then return {'FROZEN', {}} end
local ids, names = {}, {}
for i = 2, #ARGV, 2 do ids[#ids + 1], names[#names + 1] = ARGV[i], ARGV[i + 1] end
if #ids < 1 or #ids > 1000 then return redis.error_reply('ERR restore: number of accounts out of range') end
local known = redis.call('HMGET', KEYS[2], unpack(names))
local untils = redis.call('ZMSCORE', KEYS[3], unpack(ids))
local gone = redis.call('HMGET', KEYS[5], unpack(ids))
local ready = redis.call('ZMSCORE', KEYS[6], unpack(ids))
local stamp = string.format('%.0f', now)
local places, moved, back = {}, {}, {}
for i = 1, #ids do
  local place = 'leased'
  if known[i] ~= ids[i] then
    place = 'unknown'
  elseif gone[i] or ready[i] then
    place = 'elsewhere'
  elseif untils[i] then
    place = 'done'
    local n = #moved + 1
    moved[n] = ids[i]
    back[2 * n - 1], back[2 * n] = stamp, ids[i]
  end
  places[i] = place
end
if #moved == 0 then return {'OK', places} end
redis.call('ZREM', KEYS[3], unpack(moved))
redis.call('HDEL', KEYS[4], unpack(moved))
redis.call('ZADD', KEYS[6], unpack(back))
redis.call('HINCRBY', KEYS[7], 'quarantined', -#moved)
return {'OK', places}
