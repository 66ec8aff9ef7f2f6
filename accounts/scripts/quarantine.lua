-- Quarantines accounts of one role that nobody holds.
--
-- KEYS  1 gen  2 idx  3 quar  4 quarwhy  5 retired  6 av:<role>  7 n:<role>
-- ARGV  1 pool id  2 for how long in ms, or '' for ever  3 why
--       then for each account (at most 1000, none twice): id, username
-- Returns {status, {place of each}}
--   status   OK, NOPOOL, or FROZEN: somebody may hold what Redis has as free
--   place    done; unknown the pool has no such account any more; leased; or
--            elsewhere: quarantined already, or retired
local status, now, frozen = enter()
if status ~= 'OK' then return {status, {}} end
if now < frozen then return {'FROZEN', {}} end
local ids, names = {}, {}
for i = 4, #ARGV, 2 do ids[#ids + 1], names[#names + 1] = ARGV[i], ARGV[i + 1] end
if #ids < 1 or #ids > 1000 then return redis.error_reply('ERR quarantine: number of accounts out of range') end
local known = redis.call('HMGET', KEYS[2], unpack(names))
local untils = redis.call('ZMSCORE', KEYS[3], unpack(ids))
local gone = redis.call('HMGET', KEYS[5], unpack(ids))
local ready = redis.call('ZMSCORE', KEYS[6], unpack(ids))
local over = ARGV[2] == '' and 'inf' or string.format('%.0f', now + tonumber(ARGV[2]))
local why = string.format('%.0f', now) .. ' ' .. ARGV[3]
local places, moved, scores, reasons = {}, {}, {}, {}
for i = 1, #ids do
  local place = 'leased'
  if known[i] ~= ids[i] then
    place = 'unknown'
  elseif gone[i] or untils[i] then
    place = 'elsewhere'
  elseif ready[i] then
    place = 'done'
    local n = #moved + 1
    moved[n] = ids[i]
    scores[2 * n - 1], scores[2 * n] = over, ids[i]
    reasons[2 * n - 1], reasons[2 * n] = ids[i], why
  end
  places[i] = place
end
if #moved == 0 then return {'OK', places} end
redis.call('ZREM', KEYS[6], unpack(moved))
redis.call('ZADD', KEYS[3], unpack(scores))
redis.call('HSET', KEYS[4], unpack(reasons))
redis.call('HINCRBY', KEYS[7], 'quarantined', #moved)
return {'OK', places}
