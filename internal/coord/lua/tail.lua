-- Reads on in the statistics, beside the leader, which trims only behind what has
-- been read here as long as somebody reads.
-- KEYS 1 stats  2 relayed
-- ARGV 1 position up to which everything is handed on, '' for none yet  2 ms that this holds
--      3 most entries
-- returns entries of the stream behind the position, or behind that of the reader before
local at = ARGV[1]
if at == '' then at = redis.call('GET', KEYS[2]) or '0-0' end
redis.call('SET', KEYS[2], at, 'PX', ARGV[2])
return redis.call('XRANGE', KEYS[1], '(' .. at, '+', 'COUNT', ARGV[3])
