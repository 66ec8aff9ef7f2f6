-- Gives intents up.
--
-- KEYS  1 gen  2 intents
-- ARGV  1 pool id  2.. usernames (1 to 1000)
-- Returns {status, dropped}
--   status   OK or NOPOOL
local status = enter()
if status ~= 'OK' then return {status, 0} end
if #ARGV < 2 or #ARGV > 1001 then return redis.error_reply('ERR drop: number of accounts out of range') end
return {'OK', redis.call('HDEL', KEYS[2], unpack(ARGV, 2))}
