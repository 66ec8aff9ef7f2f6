-- Retires accounts of one role that nobody holds.
--
-- KEYS  1 gen  2 idx  3 quar  4 quarwhy  5 retired  6 born  7 av:<role>  8 n:<role>
-- ARGV  1 pool id  2 role  3 'quarantined' or, for free ones too, 'any'
--       then for each account (at most 1000, none twice): id, username
-- Returns {status, {place of each}}
--   status   OK, NOPOOL, or FROZEN: somebody may hold what Redis has as free
--   place    done; unknown the pool has no such account any more; leased; or
--            elsewhere: retired, or free and only quarantined ones were meant
local status, now, frozen = enter()
if status ~= 'OK' then return {status, {}} end
if now < frozen then return {'FROZEN', {}} end
local ids, names = {}, {}
for i = 4, #ARGV, 2 do ids[#ids + 1], names[#names + 1] = ARGV[i], ARGV[i + 1] end
if #ids < 1 or #ids > 1000 then return redis.error_reply('ERR retire: number of accounts out of range') end
local known = redis.call('HMGET', KEYS[2], unpack(names))
local untils = redis.call('ZMSCORE', KEYS[3], unpack(ids))
local gone = redis.call('HMGET', KEYS[5], unpack(ids))
local ready = redis.call('ZMSCORE', KEYS[7], unpack(ids))
local places, moved, retired, quarantined = {}, {}, {}, 0
for i = 1, #ids do
  local place = 'done'
  if known[i] ~= ids[i] then
    place = 'unknown'
  elseif gone[i] or (ready[i] and ARGV[3] ~= 'any') then
    place = 'elsewhere'
  elseif untils[i] then
    quarantined = quarantined + 1
  elseif not ready[i] then
    place = 'leased'
  end
  places[i] = place
  if place == 'done' then
    moved[#moved + 1] = ids[i]
    retired[#retired + 1] = ids[i]
    retired[#retired + 1] = ARGV[2]
  end
end
if #moved == 0 then return {'OK', places} end
redis.call('ZREM', KEYS[3], unpack(moved))
redis.call('HDEL', KEYS[4], unpack(moved))
redis.call('ZREM', KEYS[6], unpack(moved))
redis.call('ZREM', KEYS[7], unpack(moved))
redis.call('HSET', KEYS[5], unpack(retired))
if quarantined > 0 then redis.call('HINCRBY', KEYS[8], 'quarantined', -quarantined) end
redis.call('HINCRBY', KEYS[8], 'retired', #moved)
return {'OK', places}
