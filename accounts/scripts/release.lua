-- Gives accounts back, each only for the token it is held with: somebody who
-- has lost an account cannot take it from whoever has it now.
--
-- KEYS  1 gen  2 h:<holder>  3 held:<holder>  4 quar  5 quarwhy  6 uses  7 retired
--       8.. av:<role>, n:<role>, by:<role>, want:<role> of the first role, of
--       the second, ...
-- ARGV  1 pool id  2 holder  3 sequence number  4 the holder's name  5 rest ms
--       6 most uses, 0 for no limit  7 number of roles
--       8 number of accounts (1 to 1000)
--       9.. their ids, those with the same role, token and outcome in a row
--       then for each such row: the role's place, 'token role' as held, '' when
--       they were used, '-' when they were not, or else why they go into
--       quarantine, and how many accounts it has
-- Returns {status, {stale id, ...}}
--   status   OK; DUP the call was done before; NOPOOL; GONE no such live holder;
--            STALE an older number than the holder's last; RESYNC calls before
--            this one were lost
--   stale id an account that is not held with the token, or was named before:
--            nothing was changed
local status, now = enter()
if status ~= 'OK' then return {status, {}} end
local h = redis.call('HMGET', KEYS[2], 'state', 'seq')
if h[1] ~= 'live' then return {'GONE', {}} end
local seq, last = tonumber(ARGV[3]), tonumber(h[2])
if seq == last then return {'DUP', {}} end
if seq < last then return {'STALE', {}} end
if seq > last + 1 then return {'RESYNC', {}} end
local most, roles, n = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
if n < 1 or n > 1000 then return redis.error_reply('ERR release: number of accounts out of range') end
local rows = 9 + n

local held = redis.call('HMGET', KEYS[3], unpack(ARGV, 9, 8 + n))
local i, whole = 0, true
for row = rows, #ARGV, 4 do
  local value = ARGV[row + 1]
  for _ = 1, tonumber(ARGV[row + 3]) do
    i = i + 1
    if held[i] ~= value then whole = false end
  end
end
if i ~= n then return redis.error_reply('ERR release: the rows do not add up') end
local used = most > 0 and redis.call('HMGET', KEYS[6], unpack(ARGV, 9, 8 + n))
-- Nearly always all is as the holder says. Fewer than all are deleted only if
-- one was named twice.
if whole then whole = redis.call('HDEL', KEYS[3], unpack(ARGV, 9, 8 + n)) == n end

local stamp = string.format('%.0f', now)
local ready = string.format('%.0f', now + tonumber(ARGV[5]))
local stale, gone, seen = {}, {}, {}
local uses, spent, bad, why = {}, {}, {}, {}
local back, given, refused, retired = {}, {}, {}, {} -- of each role
for role = 1, roles do back[role], given[role], refused[role], retired[role] = {}, 0, 0, 0 end
i = 8
for row = rows, #ARGV, 4 do
  local role, value, said, count = tonumber(ARGV[row]), ARGV[row + 1], ARGV[row + 2], tonumber(ARGV[row + 3])
  local members, score = back[role], said == '-' and stamp or ready
  local k, wears = #members, used and said ~= '-'
  local fine = said == '' or said == '-'
  for at = i + 1, i + count do
    local id = ARGV[at]
    if not whole and (held[at - 8] ~= value or seen[id]) then
      stale[#stale + 1] = id
      count = count - 1
    else
      if not whole then
        seen[id] = true
        gone[#gone + 1] = id
      end
      local worn = false
      if wears then
        local times = tonumber(used[at - 8] or '0') + 1
        worn = times >= most
        uses[#uses + 1] = id
        uses[#uses + 1] = string.format('%d', times)
      end
      if not fine then
        bad[#bad + 1] = 'inf'
        bad[#bad + 1] = id
        why[#why + 1] = id
        why[#why + 1] = stamp .. ' ' .. said
      elseif worn then
        retired[role] = retired[role] + 1
        spent[#spent + 1] = id
        spent[#spent + 1] = string.match(value, ' (.+)$')
      else
        members[k + 1], members[k + 2] = score, id
        k = k + 2
      end
    end
  end
  i = i + tonumber(ARGV[row + 3])
  given[role] = given[role] + count
  if not fine then refused[role] = refused[role] + count end
end

if #gone > 0 then redis.call('HDEL', KEYS[3], unpack(gone)) end
if #uses > 0 then redis.call('HSET', KEYS[6], unpack(uses)) end
if #spent > 0 then redis.call('HSET', KEYS[7], unpack(spent)) end
if #bad > 0 then
  redis.call('ZADD', KEYS[4], unpack(bad))
  redis.call('HSET', KEYS[5], unpack(why))
end
for role = 1, roles do
  local av, counts, by = KEYS[4 + 4 * role], KEYS[5 + 4 * role], KEYS[6 + 4 * role]
  if #back[role] > 0 then redis.call('ZADD', av, unpack(back[role])) end
  if given[role] > 0 then
    redis.call('HINCRBY', counts, 'leased', -given[role])
    redis.call('HINCRBY', counts, 'releases', given[role])
    local member = ARGV[2] .. ' ' .. ARGV[4]
    if tonumber(redis.call('ZINCRBY', by, -given[role], member)) <= 0 then redis.call('ZREM', by, member) end
  end
  if refused[role] > 0 then redis.call('HINCRBY', counts, 'quarantined', refused[role]) end
  if retired[role] > 0 then redis.call('HINCRBY', counts, 'retired', retired[role]) end
end
redis.call('HSET', KEYS[2], 'seq', ARGV[3])
redis.call('HDEL', KEYS[2], 'token', 'ids')
return {'OK', stale}
