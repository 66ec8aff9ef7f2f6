-- Remembers that the pool's records are encrypted with a key.
--
-- KEYS  1 gen
-- ARGV  1 pool id  2 key's id  3 ids of all keys, each between spaces
--       4 'only' when all other records are about to be, too, or ''
-- Returns OK, NOPOOL, or KEY when the caller lacks a key that is in use.
local status = enter()
if status ~= 'OK' then return status end
if not keyed() then return 'KEY' end
if ARGV[4] == 'only' then redis.call('HDEL', KEYS[1], 'key') end
remember()
return 'OK'
