-- Calls the roll: every member, when it was last heard of, and its state.
-- KEYS 1 members  2 states  3 saved  4 plan  5 leader
-- returns {Redis's time in ms, {member id, ms of last heartbeat, ...}, {member id, state, ...},
--          mark of the last save or '', version of the plan, version of the assignment}
local t = redis.call('TIME')
return {t[1] * 1000 + math.floor(t[2] / 1000),
  redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), redis.call('HGETALL', KEYS[2]),
  redis.call('HGET', KEYS[3], 'mark') or '',
  redis.call('HGET', KEYS[4], 'version') or '0', redis.call('HGET', KEYS[5], 'slots') or '0'}
