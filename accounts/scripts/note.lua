-- Keeps a note beside the accounts, if the pool is there.
--
-- KEYS  1 gen  2 the note  3 rec  4 intents
-- ARGV  1 pool id  2 the text, '' for none  3 'keep' to keep a note that is there
--       already, unless the pool has neither accounts nor intents; else 'replace'
-- Returns {status, the note that is there now}
--   status   OK or NOPOOL
local status = enter()
if status ~= 'OK' then return {status, ''} end
if ARGV[3] == 'keep' then
  local there = redis.call('GET', KEYS[2])
  if there and redis.call('HLEN', KEYS[3]) + redis.call('HLEN', KEYS[4]) > 0 then return {'OK', there} end
end
if ARGV[2] == '' then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], ARGV[2]) end
return {'OK', ARGV[2]}
