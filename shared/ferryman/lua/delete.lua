#!lua flags=allow-oom
-- delete: a waiting or finished job is gone at once; a running one is left to `cancel`.
-- KEYS[1] prefix
-- ARGV head, then id
-- Returns the state the job was in, or 'missing'. A waiting job counts as cancelled.
-- An id in a pending list stays there, behind a stub marked `deleted` that a claim clears away:
-- LREM in a list of 1,000,000 would stop Redis for 20 ms.
-- @include head
-- @include count
-- @include observe
-- @include erase
local id, job = ARGV[4], P .. 'job:' .. ARGV[4]
local j = redis.call('HMGET', job, 'state', 'queue', 'dropped', 'deleted', 'idempotency_key',
  'priority', 'alone', 'type', 'created_at')
local state, queue = j[1], j[2] or 'default'
if not state or j[4] then return 'missing' end
if state == 'running' then return state end

local dropped = whole(j[3])
if state == 'pending' then dropped = dropped + 1 end
if state == 'scheduled' then redis.call('ZREM', P .. 'scheduled', id) end
if state == 'failed' then redis.call('LREM', P .. 'dlq', 1, id) end
if state == 'pending' or state == 'scheduled' then
  shift(queue, state, 'cancelled')
  ended(meter(queue, j[8]), 'cancelled', j[9])
end
erase(id, j[5])
if dropped > 0 then
  redis.call('HSET', job, 'state', 'cancelled', 'deleted', 1, 'dropped', dropped,
    'lies_in', queue .. ':' .. (j[7] and 'alone' or j[6] or 'normal'))
end
count('deleted_total')
write_counts()
return state
