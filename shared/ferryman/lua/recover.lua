#!lua flags=allow-oom
-- recover: a worker is gone; take its name off the roll, then empty its list.
-- KEYS[1] prefix
-- ARGV head, then ids a call at most, entry for `errors` (JSON object), the error in words, the
--   lease of a worker that fell silent ('' when it is known what became of it)
-- Begun jobs: crashes + 1; again at once, then after 5 s, buried at three; alone in a child.
-- Not begun, or so late that a silent worker may not have heard: to the head, nothing charged.
-- Newest first, so that the order at the head is kept.
-- Returns {ids left, recovered, buried, now waiting to run alone}. Call again until none is left.
-- Races with the worker, if it lives: reaped, it begins nothing more and settles nothing moved on.
-- @include head
-- @include count
-- @include observe
-- @include push
-- @include schedule
-- @include cancelled
-- @include vanish
-- @include quarantine
-- @include errors
local RUNNING, CRASHES, AGAIN = P .. 'running:' .. W, 3, 5
local recovered, buried, alone = 0, 0, 0
local lease, ends = tonumber(ARGV[7]), redis.call('ZSCORE', P .. 'workers', W)
ends = ends and tonumber(ends)
local last_heard = lease and ends and ends - lease
-- Its lease was over: nobody saw it die. Noted for the calls that take the rest of its list.
local is_late = ends and ends < now or redis.call('HGET', P .. 'worker:' .. W, 'late') == '1'

-- The run is over, whoever is charged; the meter of its job.
local function gone(job, j)
  local m = meter(j[3] or 'default', j[11])
  ran(m, 'crashed', job)
  if is_late then add(m, 'lease_expired') end
  return m
end

local function again(m)
  recovered = recovered + 1
  count('recovered_total')
  add(m, 'recovered')
end

local function crash(id, job, j)
  local crashes = whole(j[5]) + 1
  local queue = j[3] or 'default'
  local m = gone(job, j)
  redis.call('HSET', job, 'crashes', crashes, 'error', ARGV[6],
    'errors', with_error(j[7], '{"attempt":' .. whole(j[10]) .. ',' .. string.sub(ARGV[5], 2)))
  if j[8] then
    cancelled(id, queue, 'running', j[9], m, j[12])
  elseif crashes >= CRASHES then
    redis.call('HSET', job, 'state', 'failed', 'completed_at', NOW)
    redis.call('LPUSH', P .. 'dlq', id)
    shift(queue, 'running', 'failed')
    count('failed_total')
    count('dlq_total')
    add(m, 'failed')
    ended(m, 'dead', j[12])
    buried = buried + 1
  else
    again(m)
    redis.call('HSET', job, 'alone', 1, 'updated_at', NOW)
    if crashes == 1 then
      redis.call('HSET', job, 'state', 'pending', 'ready_at', NOW)
      push('LPUSH', id, queue, j[4], true)
      shift(queue, 'running', 'pending')
      alone = alone + 1
    else
      redis.call('HSET', job, 'state', 'scheduled', 'run_at', stamp(now + AGAIN))
      schedule(id, now + AGAIN)
      shift(queue, 'running', 'scheduled')
    end
  end
end

-- Begun behind a wait (claim) that nobody may have been left to hear of: excused once a job.
local function is_unheard(j)
  return last_heard and j[13] and j[13] == j[10] and (tonumber(j[14]) or 0) > last_heard
    and not j[8]
end

local function excuse(id, job, j)
  again(gone(job, j))
  redis.call('HSET', job, 'state', 'pending', 'updated_at', NOW, 'ready_at', NOW)
  push('LPUSH', id, j[3] or 'default', j[4], j[6])
  shift(j[3] or 'default', 'running', 'pending')
end

local function settle(id)
  local job = P .. 'job:' .. id
  local j = redis.pcall('HMGET', job, 'state', 'worker', 'queue', 'priority', 'crashes', 'alone',
    'errors', 'cancel_requested', 'dropped', 'attempt', 'type', 'created_at', 'unheard',
    'started_at')
  if j.err or not j[1] then
    quarantine(id, 'running:' .. W, j.err and 'not a hash' or 'no such job')
  elseif j[9] then
    vanish(id, job, j[1])
  elseif j[1] == 'pending' then
    push('LPUSH', id, j[3] or 'default', j[4], j[6])
    count('returned_total')
  elseif j[1] == 'running' and j[2] == W and is_unheard(j) then
    excuse(id, job, j)
  elseif j[1] == 'running' and j[2] == W then
    crash(id, job, j)
  else
    quarantine(id, 'running:' .. W, 'in a list, but ' .. j[1])
  end
end

redis.call('ZREM', P .. 'workers', W)
redis.call('ZADD', P .. 'reaped', NOW, W)
redis.call('DEL', P .. 'worker:' .. W, P .. 'cancel:' .. W)
for _ = 1, tonumber(ARGV[4]) do
  local id = redis.call('RPOP', RUNNING)
  if not id then break end
  settle(id)
end
write_counts()
local left = redis.call('LLEN', RUNNING)
if left > 0 and is_late then redis.call('HSET', P .. 'worker:' .. W, 'late', 1) end
return {left, recovered, buried, alone}
