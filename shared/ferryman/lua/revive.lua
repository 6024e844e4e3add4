#!lua flags=allow-oom
-- revive: a finished job runs again; failed | completed | cancelled -> pending, at the tail.
-- KEYS[1] prefix
-- ARGV head, then id, 1 when a new payload follows, payload (JSON)
-- Returns the state the job was in, or 'missing'; any other state changes nothing.
-- An id that still lies in its list from before (dropped) is only unmarked. The entry of its last
-- life in `finished` stays and is noted as `stale`.
-- @include head
-- @include count
-- @include push
local id, job = ARGV[4], P .. 'job:' .. ARGV[4]
local j = redis.call('HMGET', job, 'state', 'queue', 'priority', 'dropped', 'deleted')
local state, queue = j[1], j[2] or 'default'
if not state or j[5] then return 'missing' end
if state ~= 'failed' and state ~= 'completed' and state ~= 'cancelled' then return state end

if state == 'failed' then redis.call('LREM', P .. 'dlq', 1, id) end
redis.call('PERSIST', job)
redis.call('HDEL', job, 'failures', 'crashes', 'error', 'result', 'completed_at',
  'started_at', 'run_at', 'expires_at', 'deadline', 'progress', 'progress_note', 'cancel_requested')
redis.call('HSET', job, 'state', 'pending', 'updated_at', NOW, 'ready_at', NOW)
if ARGV[5] == '1' then redis.call('HSET', job, 'payload', ARGV[6]) end
if not j[4] then
  redis.call('HDEL', job, 'alone')
  push('RPUSH', id, queue, j[3])
  if state ~= 'failed' then redis.call('HINCRBY', job, 'stale', 1) end
elseif redis.call('HINCRBY', job, 'dropped', -1) == 0 then
  redis.call('HDEL', job, 'dropped')
end
shift(queue, state, 'pending')
count('revived_total')
write_counts()
return state
