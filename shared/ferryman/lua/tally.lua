#!lua flags=allow-oom
-- tally: add counters by day and name, once per job: a second run of it only reads.
-- KEYS[1] prefix
-- ARGV head, then id, per counter: day, name, n
-- Returns the totals after it, in the order asked.
-- @include head
local fresh = redis.call('SET', P .. 'tallied:' .. ARGV[4], 1, 'NX', 'EX', RETENTION)
local totals = {}
for i = 5, #ARGV, 3 do
  local key = P .. 'analytics:' .. ARGV[i]
  if fresh then redis.call('HINCRBY', key, ARGV[i + 1], ARGV[i + 2]) end
  totals[#totals + 1] = tonumber(redis.call('HGET', key, ARGV[i + 1]) or 0)
end
return totals
