-- Brings what Redis knows of a holder in line with what the holder holds, after
-- Redis has lost writes. Any number of calls may be made; the last one says that
-- all is settled up to a call of the holder. Each call may come twice; a copy
-- that comes when a later call of the holder is known changes nothing.
--
-- An account that the holder had leased, and that Redis has as free, is the
-- holder's again, with its token: while the pool is frozen nobody else can have
-- had it. Later, somebody may have: then it is lost. An account that Redis has
-- as the holder's, and the holder has given back, goes back as used: what became
-- of it is not known any more.
--
-- KEYS  1 gen  2 holders  3 h:<holder>  4 held:<holder>  5 tok  6 uses  7 retired
--       8.. av:<role>, n:<role>, by:<role>, want:<role> of the first role, of
--       the second, ...
-- ARGV  1 pool id  2 holder  3 the holder's name  4 rest ms
--       5 number of the holder's last call that was answered  6 'last' or ''
--       7 most uses, 0 for no limit
--       8 how many accounts it holds of those that follow, then for each
--         account (at most 1000): id, token, role, place of the role among KEYS
--       then for each one that it does not hold: id, 'token role' as it is held
--         here, role, place of the role
-- Returns {status, {id that is lost, ...}}
--   status   OK; NOPOOL; GONE no such live holder
local status, now, frozen = enter()
if status ~= 'OK' then return {status, {}} end
local h = redis.call('HMGET', KEYS[3], 'state', 'seq')
if h[1] ~= 'live' or not redis.call('ZSCORE', KEYS[2], ARGV[2]) then return {'GONE', {}} end
local late = tonumber(h[2]) > tonumber(ARGV[5])
local most, holds = tonumber(ARGV[7]), tonumber(ARGV[8])
local ids = {}
for at = 9, #ARGV, 4 do ids[#ids + 1] = ARGV[at] end
if #ids > 1000 then return redis.error_reply('ERR resync: number of accounts out of range') end
local held = #ids > 0 and redis.call('HMGET', KEYS[4], unpack(ids)) or {}

local lost, newest = {}, tonumber(redis.call('GET', KEYS[5]) or '0')
local change = {} -- of each role's place: accounts more or fewer held
for i = 1, #ids do
  local at = 5 + 4 * i
  local id, role, place = ids[i], ARGV[at + 2], tonumber(ARGV[at + 3])
  local av, counts = KEYS[4 + 4 * place], KEYS[5 + 4 * place]
  if i <= holds then
    local value = ARGV[at + 1] .. ' ' .. role
    if held[i] ~= value then
      if late then
        lost[#lost + 1] = id
      elseif held[i] then
        redis.call('HSET', KEYS[4], id, value) -- the holder's in either case
      elseif now < frozen and redis.call('ZREM', av, id) == 1 then
        redis.call('HSET', KEYS[4], id, value)
        redis.call('HINCRBY', counts, 'leased', 1)
        redis.call('HINCRBY', counts, 'leases', 1)
        change[place] = (change[place] or 0) + 1
      else
        lost[#lost + 1] = id
      end
      newest = math.max(newest, tonumber(ARGV[at + 1]))
    end
  elseif held[i] == ARGV[at + 1] and not late then
    redis.call('HDEL', KEYS[4], id)
    local worn = most > 0 and tonumber(redis.call('HINCRBY', KEYS[6], id, 1)) >= most
    if worn then
      redis.call('HSET', KEYS[7], id, role)
      redis.call('HINCRBY', counts, 'retired', 1)
    else
      redis.call('ZADD', av, string.format('%.0f', now + tonumber(ARGV[4])), id)
    end
    redis.call('HINCRBY', counts, 'leased', -1)
    redis.call('HINCRBY', counts, 'releases', 1)
    change[place] = (change[place] or 0) - 1
  end
end
if late then return {'OK', lost} end
for place, n in pairs(change) do
  local by, member = KEYS[6 + 4 * place], ARGV[2] .. ' ' .. ARGV[3]
  if tonumber(redis.call('ZINCRBY', by, string.format('%.0f', n), member)) <= 0 then redis.call('ZREM', by, member) end
end
redis.call('SET', KEYS[5], string.format('%.0f', newest))
if ARGV[6] ~= '' then
  redis.call('HSET', KEYS[3], 'seq', ARGV[5])
  redis.call('HDEL', KEYS[3], 'token', 'ids')
end
return {'OK', lost}
