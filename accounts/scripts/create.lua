-- Makes the pool, or tells what the pool that is there already was made with.
--
-- KEYS  1 gen
-- ARGV  1 schema version  2 pool id  3 lease TTL ms  4 lock-delay ms  5 rest ms
--       6 max uses  7 max age ms  8 replica lag ms
-- Returns {schema, pool id, lease TTL ms, lock-delay ms, rest ms, max uses, max
--          age ms, replica lag ms} as stored; or {'NOINFO'}, see prologue.lua.
if redis.call('EXISTS', KEYS[1]) == 0 then
  local info = redis.pcall('INFO', 'server')
  local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)')
  if not run then
    if type(info) == 'string' or not string.find(info.err, 'not supported', 1, true) then return {'NOINFO'} end
    run = 'embedded'
  end
  redis.call('HSET', KEYS[1], 'schema', ARGV[1], 'id', ARGV[2],
    'lease_ttl', ARGV[3], 'lock_delay', ARGV[4], 'rest', ARGV[5],
    'max_uses', ARGV[6], 'max_age', ARGV[7], 'replica_lag', ARGV[8],
    'freeze', string.format('%.0f', ARGV[3] + ARGV[4] + ARGV[8]), 'run', run, 'frozen', '0')
end
return redis.call('HMGET', KEYS[1], 'schema', 'id', 'lease_ttl', 'lock_delay', 'rest',
  'max_uses', 'max_age', 'replica_lag')
