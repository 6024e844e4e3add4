#!lua flags=no-writes,allow-oom
-- census: counters of queues beside what lies in their places, at one moment.
-- KEYS[1] prefix
-- ARGV head, then queue... (at most 100)
-- Returns {{event, n, ...} of `stats`, length of `scheduled`, {queue, its counters of pending,
--   running, scheduled, entries in lists | -1, begun | -1, scheduled ids | -1}...}; -1: too many
--   to count in one script.
-- @include head
-- @include census
local queues = {unpack(ARGV, 4)}
local entries, begun = census(queues)
local due = scheduled()
local answer = {redis.call('HGETALL', P .. 'stats'), redis.call('ZCARD', P .. 'scheduled')}
for _, queue in ipairs(queues) do
  local q = redis.call('HMGET', P .. 'queue:' .. queue, 'pending', 'running', 'scheduled')
  answer[#answer + 1] = {queue, q[1] or 0, q[2] or 0, q[3] or 0, entries and entries[queue] or -1,
    begun and begun[queue] or -1, due and (due[queue] or 0) or -1}
end
return answer
