#!lua flags=allow-oom
-- claim: begin the ids that lie in running:W, up to the free slots; then move more from the lists.
-- KEYS[1] prefix
-- ARGV head, then free slots, adopt (1: a job already running here is handed out again, its
--   reply was lost), default time limit, grace, newest (so many ids at the end of running:W are
--   looked at: what a BLMOVE in front of this call has brought), lists, list..., id...
-- Returns {0} when W is not registered or was reaped; else {1, more, job...}, a job being id, owned
--   attempt and the fields below; more = 1 when the call stopped at its bound, not at empty lists.
-- Races with recover (then W is reaped: nothing begins), cancel (dropped: the id vanishes), pause
-- (the id goes to the held list), and its own lost reply (an id begins once).
-- @include head
-- @include count
-- @include observe
-- @include push
-- @include cancelled
-- @include vanish
-- @include quarantine
local free, adopt = tonumber(ARGV[4]), ARGV[5] == '1'
local LIMIT, GRACE = tonumber(ARGV[6]), tonumber(ARGV[7])
local newest, lists = tonumber(ARGV[8]), tonumber(ARGV[9])
local RUNNING, MOVES = P .. 'running:' .. W, 200
local answer, surplus = {1, 0}, {}

if not redis.call('ZSCORE', P .. 'workers', W) or redis.call('ZSCORE', P .. 'reaped', W) then
  return {0}
end

local function remove(id) return redis.call('LREM', RUNNING, 1, id) end

-- The fields of a job: first those its worker gets, in this order, then those that only decide. The
-- reply of HMGET is the row that is handed out: a table of names would cost 2 us a job. Most jobs
-- have none but the first: the rest is asked for when there are more fields than these.
local FIRST = {'state', 'attempt', 'type', 'payload', 'queue', 'priority', 'created_at'}
local REST = {'failures', 'crashes', 'max_attempts', 'timeout', 'backoff', 'tags', 'meta',
  'traceparent', 'worker', 'dropped', 'expires_at', 'alone', 'ready_at'}
local STATE, ATTEMPT, TYPE, QUEUE, PRIORITY, CRASHES, TIMEOUT = 1, 2, 3, 5, 6, 8, 10
local TRACEPARENT, WORKER, DROPPED, EXPIRES_AT, ALONE, READY_AT, SHOWN = 14, 15, 16, 17, 18, 19, 14

local function give_back(id, j)
  surplus[#surplus + 1] = {id = id, queue = j[QUEUE], priority = j[PRIORITY], alone = j[ALONE]}
end

-- The row is the record with id and attempt in front; what is not set at its end is left out. Only
-- a job with a traceparent can have a tracestate: others are not asked.
local function hand_out(id, attempt, j)
  free = free - 1
  j[1], j[2] = id, attempt
  local last = j[WORKER] == nil and PRIORITY or SHOWN
  if j[TRACEPARENT] then
    last = SHOWN + 1
    j[last] = redis.call('HGET', P .. 'job:' .. id, 'tracestate')
  end
  while not j[last] do last = last - 1 end
  j[last + 1] = nil
  answer[#answer + 1] = j
end

-- A job this worker runs already, by Redis: handed out again after a lost reply. Without a free
-- slot it stays and is asked for again: were it released, a late copy of a call whose reply was
-- lost would take away what runs since a second call.
local function owned(id, j)
  if adopt and free > 0 then hand_out(id, tonumber(j[ATTEMPT]), j) end
end

local deadlines = {}
local function deadline(timeout)
  if not deadlines[timeout] then
    deadlines[timeout] = stamp(now + (tonumber(timeout) or LIMIT) + GRACE)
  end
  return deadlines[timeout]
end

local function start(id, job, j, created_at)
  local attempt = tonumber(j[ATTEMPT] or 0) + 1
  redis.call('HSET', job, 'state', 'running', 'attempt', attempt, 'worker', W, 'started_at', NOW,
    'deadline', deadline(j[TIMEOUT] or ''))
  if j[ALONE] and not j[CRASHES] then redis.call('HDEL', job, 'alone') end
  -- The worker may be gone and never hear of it; see recover. Once a job: poison is to be charged.
  if newest > 0 then redis.call('HSETNX', job, 'unheard', attempt) end
  shift(j[QUEUE], 'pending', 'running')
  local m = meter(j[QUEUE], j[TYPE])
  m.started = (m.started or 0) + 1
  observe(m, 'wait', WAIT, since(j[READY_AT] or created_at))
  hand_out(id, attempt, j)
end

-- Queues of a proper name: each is looked at once, which saves 0.2 us a job.
local proper = {}

-- What makes a record no job; what a run does not need may be damaged, the worker parks it.
local function unfit(j)
  if not j[TYPE] then return 'no type' end
  local attempt, queue = j[ATTEMPT], j[QUEUE]
  if attempt and (#attempt > 15 or not string.find(attempt, '^%d+$')) then return 'no attempt' end
  if proper[queue] then return end
  if string.find(queue, '[^%w._-]') or queue == '' then return 'no queue' end
  proper[queue] = true
end

-- The record of a job and when it was created.
local function fields(job)
  local j = redis.pcall('HMGET', job, unpack(FIRST))
  if j.err then return j end
  local created_at, known = j[7], 0
  for i = 1, 7 do
    if j[i] then known = known + 1 end
  end
  j[7] = nil
  if redis.call('HLEN', job) > known then
    for i, value in ipairs(redis.call('HMGET', job, unpack(REST))) do j[6 + i] = value end
  end
  return j, created_at
end

-- No client makes an id of more than 128 bytes (nor has a child's board room for more): what hangs
-- under a longer one could never be charged.
local function read(id, job)
  if #id > 128 then return nil, 'no id of ours' end
  local j, created_at = fields(job)
  if j.err then return nil, 'not a hash' end
  if not j[STATE] then return nil, 'no such job' end
  j[QUEUE] = j[QUEUE] or 'default'
  return j, not j[DROPPED] and unfit(j) or nil, created_at
end

-- begin: the id lies in running:W and W is registered; what becomes of it depends on the job.
local function begin(id)
  local job = P .. 'job:' .. id
  local j, wrong, created_at = read(id, job)
  if wrong then
    remove(id)
    quarantine(id, 'running:' .. W, wrong)
  elseif j[DROPPED] then
    remove(id)
    vanish(id, job, j[STATE])
  elseif j[STATE] == 'running' and j[WORKER] == W then
    owned(id, j)
  elseif j[STATE] ~= 'pending' then
    remove(id)
    quarantine(id, 'running:' .. W, 'in a list, but ' .. j[STATE])
  elseif j[EXPIRES_AT] and (tonumber(j[EXPIRES_AT]) or now + 1) <= now then
    remove(id)
    local m = meter(j[QUEUE], j[TYPE])
    cancelled(id, j[QUEUE], 'pending', nil, m, created_at)
    count('expired_total')
    add(m, 'expired')
  elseif free == 0 or is_paused(j[QUEUE]) then
    count('returned_total')
    give_back(id, j)
  else
    start(id, job, j, created_at)
  end
end

if newest > 0 then
  for _, id in ipairs(redis.call('LRANGE', RUNNING, -newest, -1)) do begin(id) end
end
local seen = {}
for i = 10 + lists, #ARGV do
  local id = ARGV[i]
  if not seen[id] and redis.call('LPOS', RUNNING, id) then begin(id) end
  seen[id] = true
end
-- As many as there are free slots move at once: three calls instead of one LMOVE for each. A user
-- who may not do one of them leaves an id in both lists rather than in none.
local moves = 0
for i = 10, 9 + lists do
  while free > 0 and moves < MOVES do
    local ids = redis.call('LRANGE', P .. ARGV[i], 0, math.min(free, MOVES - moves) - 1)
    if not ids[1] then break end
    redis.call('RPUSH', RUNNING, unpack(ids))
    redis.call('LTRIM', P .. ARGV[i], #ids, -1)
    moves = moves + #ids
    for _, id in ipairs(ids) do begin(id) end
  end
end
-- Backwards, so that the first of them is first again.
for i = #surplus, 1, -1 do
  local s = surplus[i]
  remove(s.id)
  push('LPUSH', s.id, s.queue, s.priority, s.alone)
end
write_counts()
answer[2] = (moves == MOVES and free > 0) and 1 or 0
return answer
