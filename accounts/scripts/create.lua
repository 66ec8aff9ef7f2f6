-- Makes the pool, or tells what the pool that is there already was made with.
--
-- KEYS  1 gen
-- ARGV  1 schema version  2 pool id  3 lease TTL ms  4 lock-delay ms  5 rest ms
-- Returns {schema, pool id, lease TTL ms, lock-delay ms, rest ms} as stored.
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'schema', ARGV[1], 'id', ARGV[2],
    'lease_ttl', ARGV[3], 'lock_delay', ARGV[4], 'rest', ARGV[5])
end
return redis.call('HMGET', KEYS[1], 'schema', 'id', 'lease_ttl', 'lock_delay', 'rest')
