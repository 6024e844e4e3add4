#!lua flags=allow-oom
-- cancel: from the API ('' as worker) a waiting job at once, a running one by asking it to stop;
-- from the worker an attempt that stopped as asked.
-- KEYS[1] prefix
-- ARGV head, then id, attempt | ''
-- Returns the state the job was in, or 'missing'; from the worker OK (1) or LOST (0).
-- @include head
-- @include count
-- @include observe
-- @include settle
-- @include cancelled
-- @include erase
-- @include forget
local id, attempt = ARGV[4], ARGV[5]
local job = P .. 'job:' .. id

local function stopped()
  local j, status = mine(id, attempt, 'cancel')
  if not j then return status end
  redis.call('HSET', job, 'settled', attempt, 'settled_by', 'cancel')
  ran(j.meter, 'cancelled', job)
  cancelled(id, j.queue, 'running', j.dropped, j.meter, j.created_at)
  return OK
end

local function asked()
  local j = redis.call('HMGET', job, 'state', 'queue', 'worker', 'dropped', 'deleted', 'type',
    'created_at')
  local state, queue = j[1], j[2] or 'default'
  if not state or j[5] then return 'missing' end
  if state == 'pending' then
    redis.call('HINCRBY', job, 'dropped', 1)
    cancelled(id, queue, state, true, meter(queue, j[6]), j[7])
  elseif state == 'scheduled' then
    redis.call('ZREM', P .. 'scheduled', id)
    cancelled(id, queue, state, j[4], meter(queue, j[6]), j[7])
  elseif state == 'running' and redis.call('HSETNX', job, 'cancel_requested', NOW) == 1 then
    if j[3] then redis.call('RPUSH', P .. 'cancel:' .. j[3], id) end
  end
  return state
end

local answer = W == '' and asked() or W ~= '' and stopped()
forget()
write_counts()
return answer
