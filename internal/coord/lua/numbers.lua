-- A holder of user numbers says that it is there, gives numbers back and takes
-- the lowest that are free. Every number below the high-water mark is either
-- free, in the set of its class, or held.
-- KEYS 1 high  2 holders  3 held (by the caller)  4.. free, one for each class
-- ARGV 1 holder id  2 ms that this holds  3 ms that the keys live on  4 most numbers held by all
--      5 the number that 6 begins with  6 class of each number from there on, as characters 1..; '' for none
--      7 how many of any class to take, at most 500
--      8.. how many of each class to take, at most 5000 together
--      then: how many to give back, these numbers, and number, class (1..), ... that the caller holds
--      already, if this script has said that it does not know the caller
-- returns {-1} if the caller is not known and has not said what it holds, else
--         {high, {ids of other holders that have not been heard of}, {numbers taken}, {numbers lost}}
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local classes = #KEYS - 3
local at = 8 + classes
local back = tonumber(ARGV[at])
local resumed = at + 1 + back
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) and ARGV[resumed] == nil then return {-1} end

local high = tonumber(redis.call('GET', KEYS[1]) or '0')
if ARGV[6] ~= '' and tonumber(ARGV[5]) == high then
  for i = 1, #ARGV[6] do
    redis.call('ZADD', KEYS[3 + string.byte(ARGV[6], i)], high, high)
    high = high + 1
  end
  redis.call('SET', KEYS[1], high)
end
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[2]), ARGV[1])

local lost = {}
for i = resumed, #ARGV - 1, 2 do
  local number, class = ARGV[i], tonumber(ARGV[i + 1])
  if class > 0 and not redis.call('ZSCORE', KEYS[3], number) then
    if redis.call('ZREM', KEYS[3 + class], number) == 1 then
      redis.call('ZADD', KEYS[3], class, number)
    else
      lost[#lost + 1] = tonumber(number)
    end
  end
end
for i = at + 1, at + back do
  local class = redis.call('ZSCORE', KEYS[3], ARGV[i])
  if class then
    redis.call('ZREM', KEYS[3], ARGV[i])
    redis.call('ZADD', KEYS[3 + tonumber(class)], ARGV[i], ARGV[i])
  end
end

local room = tonumber(ARGV[4]) - high
for class = 1, classes do room = room + redis.call('ZCARD', KEYS[3 + class]) end
local taken = {}
local function take(class, n)
  if math.min(n, room) < 1 then return end
  local popped = redis.call('ZPOPMIN', KEYS[3 + class], math.min(n, room))
  for i = 1, #popped, 2 do
    redis.call('ZADD', KEYS[3], class, popped[i])
    taken[#taken + 1] = tonumber(popped[i])
    room = room - 1
  end
end
for class = 1, classes do take(class, tonumber(ARGV[7 + class])) end
for _ = 1, math.min(500, tonumber(ARGV[7])) do
  local best, of = nil, nil
  for class = 1, classes do
    local first = tonumber(redis.call('ZRANGE', KEYS[3 + class], 0, 0)[1])
    if first and (not best or first < best) then best, of = first, class end
  end
  if not best or room < 1 then break end
  take(of, 1)
end
for i = 1, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[3]) end
return {high, redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('(%.0f', now), 'LIMIT', 0, 10), taken, lost}
