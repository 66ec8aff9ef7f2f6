-- Calls the roll: every member, when it was last heard of, and its state.
-- KEYS 1 members  2 states  3 saved
-- returns {Redis's time in ms, {member id, ms of last heartbeat, ...}, {member id, state, ...},
--          mark of the last save or ''}
local t = redis.call('TIME')
return {t[1] * 1000 + math.floor(t[2] / 1000),
  redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), redis.call('HGETALL', KEYS[2]),
  redis.call('HGET', KEYS[3], 'mark') or ''}
