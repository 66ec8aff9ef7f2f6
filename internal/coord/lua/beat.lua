-- A member's heartbeat, which is also its poll.
-- KEYS 1 members  2 states  3 plan  4 slots  5 leader  6 saved  7 run
-- ARGV 1 member id  2 state  3 known plan version  4 known slots  5 known run id
-- returns {Redis's time in µs, plan version, plan body or false, slots ("version:bitmap") or false,
--          ms that remain of the leader's lease, last number saved of this member (of the saved run),
--          run id, protocol or false, spec or false}
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local plan = redis.call('HMGET', KEYS[3], 'version', 'body')
local version = plan[1] or '0'
local body = false
if version ~= ARGV[3] then body = plan[2] end
local slots = redis.call('HGET', KEYS[4], ARGV[1]) or ''
-- The known slots are named by their version alone: the part before the colon.
if string.match(slots, '^%d*') == ARGV[4] then slots = false end
local remaining = (tonumber(redis.call('HGET', KEYS[5], 'until') or '0') or 0) - now
local number = redis.call('HGET', KEYS[6], 'n:' .. ARGV[1]) or '0'
local run = redis.call('HMGET', KEYS[7], 'id', 'protocol', 'spec')
local id = run[1] or ''
if id == ARGV[5] then run = {id, false, false} end
return {string.format('%.0f', t[1] * 1000000 + t[2]), version, body, slots,
  math.max(0, remaining), number, id, run[2], run[3]}
