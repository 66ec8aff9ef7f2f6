-- Puts records in place of others that say the same.
--
-- KEYS  1 gen  2 rec or intents
-- ARGV  1 pool id  then for each record (at most 1000): field, the record as it
--       was read, the record to keep
-- Returns {status, rewritten}
--   status   OK or NOPOOL
--   A record that is not as it was read is left alone.
local status = enter()
if status ~= 'OK' then return {status, 0} end
local fields = {}
for i = 2, #ARGV, 3 do fields[#fields + 1] = ARGV[i] end
if #fields < 1 or #fields > 1000 then return redis.error_reply('ERR rewrite: number of records out of range') end
local now = redis.call('HMGET', KEYS[2], unpack(fields))
local set = {}
for i = 1, #fields do
  if now[i] == ARGV[3 * i] then
    set[#set + 1] = fields[i]
    set[#set + 1] = ARGV[3 * i + 1]
  end
end
if #set > 0 then redis.call('HSET', KEYS[2], unpack(set)) end
return {'OK', #set / 2}
