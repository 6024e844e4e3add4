#!lua flags=allow-oom
-- forget: while memory stays short, finished jobs go before their time, the oldest first.
-- KEYS[1] prefix
-- ARGV head, then seconds the memory gate must have been closed, ids a call at most, newest ids
--   to keep, seconds to keep a job after its end
-- Returns {1 while the gate is closed, jobs forgotten}. Their idempotency keys go with them.
-- @include head
-- @include count
-- @include erase
-- @include forget
-- @include gate
local KEEP, AGE = tonumber(ARGV[6]), tonumber(ARGV[7])
local closed, forgotten = watch_memory(), 0

local function oldest_may_go()
  if redis.call('LLEN', P .. 'finished') <= KEEP then return false end
  local job = P .. 'job:' .. redis.call('LINDEX', P .. 'finished', -1)
  local j = redis.pcall('HMGET', job, 'completed_at', 'stale')
  return j[2] or (tonumber(j[1]) or 0) < now - AGE
end

if closed and closed > tonumber(ARGV[4]) then
  for _ = 1, tonumber(ARGV[5]) do
    if not oldest_may_go() then break end
    forgotten = forgotten + forget_oldest()
  end
end
count('forgotten_total', forgotten)
write_counts()
return {closed and 1 or 0, forgotten}
