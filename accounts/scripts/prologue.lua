-- What a script begins with, prepended to its source: the pool must be the
-- caller's, and Redis must be the process that it was.
--
-- A Redis that was restarted, or a replica that was promoted, may have lost its
-- last writes, leases among them. It shows by another run_id. Then nothing is
-- leased for as long as somebody may still trust a lease that was lost: lease
-- TTL + lock-delay + replica lag. Meanwhile holders that are alive renew, and
-- say what they hold (resync.lua).
--
-- KEYS  1 gen
-- ARGV  1 pool id
-- Returns OK and what follows; NOPOOL; NOINFO when Redis refuses to say which
-- process it is, as it does to a user without the right to: then nothing can be
-- done safely, and nothing is.
local function enter()
  local g = redis.call('HMGET', KEYS[1], 'id', 'run', 'frozen', 'freeze')
  if g[1] ~= ARGV[1] then return 'NOPOOL' end
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  local frozen = tonumber(g[3])
  local info = redis.pcall('INFO', 'server')
  local run
  if type(info) == 'string' then
    -- To find a text that is known takes a fraction of matching a pattern.
    run = string.find(info, g[2], 1, true) and g[2] or string.match(info, 'run_id:(%x+)')
  elseif string.find(info.err, 'not supported', 1, true) then
    run = 'embedded' -- which does not restart
  end
  if not run then return 'NOINFO' end
  if g[2] ~= run then
    frozen = now + tonumber(g[4])
    redis.call('HSET', KEYS[1], 'run', run, 'frozen', string.format('%.0f', frozen))
  end
  -- now and frozen are in ms, t as TIME gives it. The pool is frozen while
  -- now < frozen.
  return 'OK', now, frozen, t
end

