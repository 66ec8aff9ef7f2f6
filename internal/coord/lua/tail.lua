-- Takes the next statistics to hand on, each once however many ask. The leader trims
-- only behind what was taken.
-- KEYS 1 stats  2 relayed
-- ARGV 1 ms that the position holds  2 most entries
-- returns entries of the stream
local at = redis.call('GET', KEYS[2]) or '0-0'
local entries = redis.call('XRANGE', KEYS[1], '(' .. at, '+', 'COUNT', ARGV[2])
if #entries > 0 then at = entries[#entries][1] end
redis.call('SET', KEYS[2], at, 'PX', ARGV[1])
return entries
