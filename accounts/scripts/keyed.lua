-- What a script begins with, after the prologue, that writes records. If records
-- of the pool are encrypted, the caller must have every key that is in use, or it
-- would write passwords in the clear among encrypted ones.
--
-- KEYS  1 gen
-- ARGV  2 id of the key that the records of this call are encrypted with, or ''
--       3 the ids of all keys that the caller has, each between spaces
local function keyed()
  for id in string.gmatch(redis.call('HGET', KEYS[1], 'key') or '', '[^ ]+') do
    if not string.find(ARGV[3], ' ' .. id .. ' ', 1, true) then return false end
  end
  return true
end

-- The key of this call is in use from now on.
local function remember()
  if ARGV[2] == '' then return end
  local used = redis.call('HGET', KEYS[1], 'key')
  if not used then
    redis.call('HSET', KEYS[1], 'key', ARGV[2])
  elseif not string.find(' ' .. used .. ' ', ' ' .. ARGV[2] .. ' ', 1, true) then
    redis.call('HSET', KEYS[1], 'key', used .. ' ' .. ARGV[2])
  end
end

