-- Looks where accounts are, all at one moment. It changes nothing.
--
-- KEYS  1 gen  2 rec  3 quar  4 quarwhy  5 retired  6 roles  7 holders
--       then av:<role> of each role, and held:<holder> of each holder
-- ARGV  1 pool id  2 'all' when the roles and holders given must be all that
--       there are  3 number of ids (1 to 1000)  4 of roles  5 of holders
--       then the ids, the roles, the holders, and for each holder: how many of
--       the ids to look for in what it holds, or 0 for all of them, and if not 0
--       their positions among the ids
-- Returns {status, now ms, {what is found of each id}}
--   status   OK; NOPOOL; AGAIN a role or a holder has come or gone
--   found    the record or '', then for each place three texts: 'available',
--            role, ready at; 'held', holder, 'token role'; 'quarantined', until,
--            since and why or ''; 'retired', role, ''. Last, 'reason', '', ''
--            if there is a reason and no quarantine.
local status, now = enter()
if status ~= 'OK' then return {status, 0, {}} end
local n, roles, holders = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if n < 1 or n > 1000 then return redis.error_reply('ERR places: number of accounts out of range') end
local at = 5 + n + roles -- the holders follow
if ARGV[2] == 'all' then
  if redis.call('SCARD', KEYS[6]) ~= roles or redis.call('ZCARD', KEYS[7]) ~= holders then return {'AGAIN', 0, {}} end
  if holders > 0 then
    local there = redis.call('ZMSCORE', KEYS[7], unpack(ARGV, at + 1, at + holders))
    for i = 1, holders do
      if not there[i] then return {'AGAIN', 0, {}} end
    end
  end
end

local ids, found = {}, {}
for i = 1, n do ids[i] = ARGV[5 + i] end
local records = redis.call('HMGET', KEYS[2], unpack(ids))
for i = 1, n do found[i] = {records[i] or ''} end
local function put(i, place, which, what)
  local f = found[i]
  local k = #f
  f[k + 1], f[k + 2], f[k + 3] = place, which, what
end

for role = 1, roles do
  local ready = redis.call('ZMSCORE', KEYS[7 + role], unpack(ids))
  for i = 1, n do
    if ready[i] then put(i, 'available', ARGV[5 + n + role], ready[i]) end
  end
end
local args = at + holders
for holder = 1, holders do
  local key, name = KEYS[7 + roles + holder], ARGV[at + holder]
  args = args + 1
  local k = tonumber(ARGV[args])
  if k == 0 then
    local held = redis.call('HMGET', key, unpack(ids))
    for i = 1, n do
      if held[i] then put(i, 'held', name, held[i]) end
    end
  else
    local these = {}
    for j = 1, k do these[j] = ids[tonumber(ARGV[args + j])] end
    local held = redis.call('HMGET', key, unpack(these))
    for j = 1, k do
      if held[j] then put(tonumber(ARGV[args + j]), 'held', name, held[j]) end
    end
    args = args + k
  end
end
local untils = redis.call('ZMSCORE', KEYS[3], unpack(ids))
local why = redis.call('HMGET', KEYS[4], unpack(ids))
local retired = redis.call('HMGET', KEYS[5], unpack(ids))
for i = 1, n do
  if retired[i] then put(i, 'retired', retired[i], '') end
  if untils[i] then
    put(i, 'quarantined', untils[i], why[i] or '')
  elseif why[i] then
    put(i, 'reason', '', '')
  end
end
return {'OK', now, found}
