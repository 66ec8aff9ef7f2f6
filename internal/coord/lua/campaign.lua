-- Takes or renews the leader's lease.
-- KEYS 1 leader
-- ARGV 1 id  2 epoch to renew, 0 to take  3 ttl ms  4 newest epoch that the caller knows of
-- returns {1, epoch} when the caller leads now;
--         {0, epoch, until when the other's lease lasts (ms), ms that remain of it} when it does not
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local l = redis.call('HMGET', KEYS[1], 'id', 'epoch', 'until')
local epoch = tonumber(l[2] or '0') or 0
local until_ms = tonumber(l[3] or '0') or 0
local mine = l[1] == ARGV[1] and epoch == tonumber(ARGV[2])
if not mine then
  if tonumber(ARGV[2]) ~= 0 or until_ms > now or epoch < tonumber(ARGV[4]) then
    return {0, epoch, until_ms, math.max(0, until_ms - now)}
  end
  epoch = epoch + 1
end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'epoch', string.format('%.0f', epoch),
  'until', string.format('%.0f', now + tonumber(ARGV[3])))
return {1, epoch}
