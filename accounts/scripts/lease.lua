-- Leases up to n ready accounts of one role, those first that have been ready
-- longest. A call whose number the holder has used already is answered again
-- as it was the first time and changes nothing.
--
-- KEYS  1 gen  2 holders  3 h:<holder>  4 held:<holder>  5 rec  6 tok
--       7 av:<role>  8 n:<role>
-- ARGV  1 pool id  2 holder  3 sequence number  4 n (1 to 1000)  5 role
-- Returns {status, token, {id, ...}, {record, ...}, wait, resting, leased,
--          quarantined, retired}
--   status   OK; DUP answered again; NOPOOL; GONE no such live holder; EXPIRED
--            renew first; STALE an older number than the holder's last. Nothing
--            follows the last four.
--   token    decimal text, the same for all ids
--   wait     ms until the next resting account is ready; -1 when none rests or
--            nothing is short. The four counts are 0 when nothing is short.
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'NOPOOL'} end
local h = redis.call('HMGET', KEYS[3], 'state', 'seq', 'token', 'ids')
local expires = redis.call('ZSCORE', KEYS[2], ARGV[2])
if h[1] ~= 'live' or not expires then return {'GONE'} end
local seq, n = tonumber(ARGV[3]), tonumber(ARGV[4])
if n < 1 or n > 1000 then return redis.error_reply('ERR lease: n out of range') end
local last = tonumber(h[2])
if seq < last or (seq == last and not h[3]) then return {'STALE'} end

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local status, token, ids = 'OK', '0', {}
if seq == last then
  status, token = 'DUP', h[3]
  for id in string.gmatch(h[4], '[^ ]+') do ids[#ids + 1] = id end
else
  if tonumber(expires) <= now then return {'EXPIRED'} end
  ids = redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', string.format('%.0f', now), 'LIMIT', 0, n)
  local k = #ids
  if k > 0 then
    -- Ahead of every token ever given, also after a failover that lost the
    -- last ones: the clock has moved on since.
    token = string.format('%.0f', math.max(
      tonumber(redis.call('GET', KEYS[6]) or '0') + 1, t[1] * 1000000 + t[2]))
    redis.call('SET', KEYS[6], token)
    redis.call('ZREMRANGEBYRANK', KEYS[7], 0, k - 1)
    local held, value = {}, token .. ' ' .. ARGV[5]
    for i = 1, k do
      held[2 * i - 1], held[2 * i] = ids[i], value
    end
    redis.call('HSET', KEYS[4], unpack(held))
    local c = redis.call('HMGET', KEYS[8], 'leased', 'leases', 'peak')
    local leased = tonumber(c[1] or '0') + k
    redis.call('HSET', KEYS[8], 'leased', string.format('%.0f', leased),
      'leases', string.format('%.0f', tonumber(c[2] or '0') + k),
      'peak', string.format('%.0f', math.max(tonumber(c[3] or '0'), leased)))
  end
  -- Kept also when nothing was free: a late copy of this call must not lease.
  redis.call('HSET', KEYS[3], 'seq', ARGV[3], 'token', token, 'ids', table.concat(ids, ' '))
end

local records = {}
if #ids > 0 then records = redis.call('HMGET', KEYS[5], unpack(ids)) end
local wait, resting, c = -1, 0, {}
if #ids < n then
  local next = redis.call('ZRANGE', KEYS[7], 0, 0, 'WITHSCORES')
  if next[2] then wait = math.max(tonumber(next[2]) - now, 0) end
  resting = redis.call('ZCARD', KEYS[7])
  c = redis.call('HMGET', KEYS[8], 'leased', 'quarantined', 'retired')
end
return {status, token, ids, records, wait, resting,
  tonumber(c[1] or '0'), tonumber(c[2] or '0'), tonumber(c[3] or '0')}
