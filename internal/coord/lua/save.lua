-- Saves the merged state with the position behind it, and trims the stream.
-- KEYS 1 leader  2 saved  3 stats  4 relayed
-- ARGV 1 leader's id  2 run id  3 state  4 position (id of the last stream entry that was read, '' for none)
--      5 mark  6.. member id, last merged number, member id, ...
-- returns 1, or -1 when deposed
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return -1 end
redis.call('HSET', KEYS[2], 'run', ARGV[2], 'body', ARGV[3], 'pos', ARGV[4], 'mark', ARGV[5])
for i = 6, #ARGV, 2 do
  redis.call('HSET', KEYS[2], 'n:' .. ARGV[i], ARGV[i + 1])
end
if ARGV[4] ~= '' then
  local ms, seq = string.match(ARGV[4], '^(%d+)-(%d+)$')
  -- Somebody who reads beside the leader may not be as far.
  local rms, rseq = string.match(redis.call('GET', KEYS[4]) or '', '^(%d+)-(%d+)$')
  if rms and (tonumber(rms) < tonumber(ms) or tonumber(rms) == tonumber(ms) and tonumber(rseq) < tonumber(seq)) then
    ms, seq = rms, rseq
  end
  redis.call('XTRIM', KEYS[3], 'MINID', ms .. '-' .. string.format('%.0f', tonumber(seq) + 1))
end
return 1
