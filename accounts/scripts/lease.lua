-- Leases ready accounts of one role, those first that have been ready longest.
-- A call whose number the holder has used already is answered again as it was
-- the first time and changes nothing.
--
-- KEYS  1 gen  2 holders  3 h:<holder>  4 held:<holder>  5 rec  6 tok
--       7 av:<role>  8 n:<role>  9 by:<role>  10 want:<role>  11 roles
--       and where accounts have a greatest age: 12 born  13 retired
-- ARGV  1 pool id  2 holder  3 sequence number  4 how many are waited for
--       5 how many more are welcome (4 and 5 together 1 to 1000)  6 role
--       7 the holder's name  8 greatest age ms, 0 for none
-- Returns {status, token, {id, ...}, {record, ...}, wait, resting, leased,
--          quarantined, retired, {holder's name, accounts held, ...}}
--   status   OK; DUP answered again; FROZEN nothing is leased now; NOPOOL; GONE
--            no such live holder; EXPIRED renew first; STALE an older number
--            than the holder's last; RESYNC calls before this one were lost.
--            Nothing follows the last five.
--   token    decimal text, the same for all ids
--   wait     ms until the next resting account is ready, or the freeze is over;
--            -1 when none rests or nothing is short. Then the counts and those
--            who hold the most follow, else zeros.
local status, now, frozen, t = enter()
if status ~= 'OK' then return {status} end
local h = redis.call('HMGET', KEYS[3], 'state', 'seq', 'token', 'ids')
local expires = redis.call('ZSCORE', KEYS[2], ARGV[2])
if h[1] ~= 'live' or not expires then return {'GONE'} end
local seq, n, extra = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if n < 0 or extra < 0 or n + extra < 1 or n + extra > 1000 then
  return redis.error_reply('ERR lease: number of accounts out of range')
end
local last = tonumber(h[2])
if seq < last or (seq == last and not h[3]) then return {'STALE'} end
if seq > last + 1 then return {'RESYNC'} end

local token, ids, k = '0', {}, 0
if seq == last then
  status, token = 'DUP', h[3]
  for id in string.gmatch(h[4], '[^ ]+') do
    k = k + 1
    ids[k] = id
  end
else
  if tonumber(expires) <= now then return {'EXPIRED'} end
  if now < frozen then
    status = 'FROZEN'
  else
    local ready = string.format('%.0f', now)
    local most = n
    if extra > 0 then
      -- What is only welcome is taken from plenty, and not from those who wait.
      local others = redis.call('HLEN', KEYS[10]) - redis.call('HEXISTS', KEYS[10], ARGV[2])
      if others == 0 then
        local plenty = math.floor((redis.call('ZCOUNT', KEYS[7], '-inf', ready) - n) / 2)
        most = n + math.max(0, math.min(extra, plenty))
      end
    end
    local oldest = tonumber(ARGV[8])
    for _ = 1, oldest > 0 and 4 or 1 do
      if k >= most then break end
      local found = redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', ready, 'LIMIT', 0, most - k)
      if #found == 0 then break end
      redis.call('ZREMRANGEBYRANK', KEYS[7], 0, #found - 1)
      if oldest == 0 then
        ids, k = found, #found
      else
        local born, aged, names = redis.call('ZMSCORE', KEYS[12], unpack(found)), {}, {}
        for i = 1, #found do
          if born[i] and tonumber(born[i]) + oldest <= now then
            aged[#aged + 1] = found[i]
            aged[#aged + 1] = ARGV[6]
            names[#names + 1] = found[i]
          else
            k = k + 1
            ids[k] = found[i]
          end
        end
        if #names > 0 then
          redis.call('HSET', KEYS[13], unpack(aged))
          redis.call('ZREM', KEYS[12], unpack(names))
          redis.call('HINCRBY', KEYS[8], 'retired', #names)
        end
      end
    end
    if k > 0 then
      -- Ahead of every token ever given, also after a failover that lost the
      -- last ones: the clock has moved on since.
      token = string.format('%.0f', math.max(
        tonumber(redis.call('GET', KEYS[6]) or '0') + 1, t[1] * 1000000 + t[2]))
      redis.call('SET', KEYS[6], token)
      local held, value = {}, token .. ' ' .. ARGV[6]
      for i = 1, k do
        held[2 * i - 1], held[2 * i] = ids[i], value
      end
      -- A small hash is kept as a list, in which each field is searched for from
      -- the front: hundreds of accounts would cost several times what they do in
      -- a table. A long value, gone at once, makes it a table while it lasts.
      if redis.call('EXISTS', KEYS[4]) == 0 then
        redis.call('HSET', KEYS[4], ids[1], string.rep(' ', 65))
      end
      redis.call('HSET', KEYS[4], unpack(held))
      local c = redis.call('HMGET', KEYS[8], 'leased', 'leases', 'peak')
      local leased = tonumber(c[1] or '0') + k
      redis.call('HSET', KEYS[8], 'leased', string.format('%.0f', leased),
        'leases', string.format('%.0f', tonumber(c[2] or '0') + k),
        'peak', string.format('%.0f', math.max(tonumber(c[3] or '0'), leased)))
      redis.call('ZINCRBY', KEYS[9], k, ARGV[2] .. ' ' .. ARGV[7])
    end
    if k >= n then
      redis.call('HDEL', KEYS[10], ARGV[2])
    elseif redis.call('SISMEMBER', KEYS[11], ARGV[6]) == 1 then
      -- Of a role that the pool does not have, nothing would delete it again.
      redis.call('HSET', KEYS[10], ARGV[2], string.format('%.0f', n - k))
    end
  end
  -- Kept also when nothing was leased: a late copy of this call must not lease.
  redis.call('HSET', KEYS[3], 'seq', ARGV[3], 'token', token, 'ids', table.concat(ids, ' '))
end

local records = {}
if k > 0 then records = redis.call('HMGET', KEYS[5], unpack(ids)) end
if k >= n then return {status, token, ids, records, -1, 0, 0, 0, 0, {}} end

local wait = -1
if status == 'FROZEN' then
  wait = frozen - now
else
  local next = redis.call('ZRANGE', KEYS[7], 0, 0, 'WITHSCORES')
  if next[2] then wait = math.max(tonumber(next[2]) - now, 0) end
end
local c = redis.call('HMGET', KEYS[8], 'leased', 'quarantined', 'retired')
local most = redis.call('ZREVRANGE', KEYS[9], 0, 4, 'WITHSCORES')
for i = 1, #most, 2 do most[i] = string.match(most[i], ' (.*)$') end
return {status, token, ids, records, wait, redis.call('ZCARD', KEYS[7]),
  tonumber(c[1] or '0'), tonumber(c[2] or '0'), tonumber(c[3] or '0'), most}
