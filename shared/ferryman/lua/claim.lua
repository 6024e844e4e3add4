#!lua flags=allow-oom
-- claim: begin the ids that lie in running:W, up to the free slots; then move more from the lists.
-- KEYS[1] prefix
-- ARGV head, then free slots, adopt (1: a job already running here is handed out again, its
--   reply was lost), default time limit, grace, lists, list..., id...
-- Returns {0} when W is not registered or was reaped; else {1, more, job...}, a job being id, owned
--   attempt and the fields below; more = 1 when the call stopped at its bound, not at empty lists.
-- Races with recover (then W is reaped: nothing begins), cancel (dropped: the id vanishes), pause
-- (the id goes to the held list), and its own lost reply (an id begins once).
-- @include head
-- @include count
-- @include push
-- @include cancelled
-- @include vanish
-- @include quarantine
local free, adopt = tonumber(ARGV[4]), ARGV[5] == '1'
local LIMIT, GRACE, lists = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local RUNNING, MOVES = P .. 'running:' .. W, 200
local answer, surplus = {1, 0}, {}

if not redis.call('ZSCORE', P .. 'workers', W) or redis.call('ZSCORE', P .. 'reaped', W) then
  return {0}
end

local function remove(id) return redis.call('LREM', RUNNING, 1, id) end

local function give_back(id, j)
  surplus[#surplus + 1] = {id = id, queue = j.queue, priority = j.priority, alone = j.alone}
end

local function hand_out(id, attempt, j)
  free = free - 1
  answer[#answer + 1] = {id, attempt, j.type, j.payload, j.queue, j.priority, j.failures, j.crashes,
    j.max_attempts, j.timeout, j.backoff, j.created_at, j.tags, j.meta}
end

-- A job this worker runs already, by Redis: handed out again after a lost reply. Without a free
-- slot it stays and is asked for again: were it released, a late copy of a call whose reply was
-- lost would take away what runs since a second call.
local function owned(id, j)
  if adopt and free > 0 then hand_out(id, tonumber(j.attempt), j) end
end

local function start(id, job, j)
  local attempt = tonumber(j.attempt or 0) + 1
  local deadline = now + (tonumber(j.timeout) or LIMIT) + GRACE
  redis.call('HSET', job, 'state', 'running', 'attempt', attempt, 'worker', W, 'started_at', NOW,
    'deadline', stamp(deadline))
  if j.alone and not j.crashes then redis.call('HDEL', job, 'alone') end
  shift(j.queue, 'pending', 'running')
  hand_out(id, attempt, j)
end

local NAMES = {'state', 'worker', 'attempt', 'dropped', 'expires_at', 'alone', 'type', 'payload',
  'queue', 'priority', 'failures', 'crashes', 'max_attempts', 'timeout', 'backoff', 'created_at',
  'tags', 'meta'}

local function read(job)
  local values = redis.pcall('HMGET', job, unpack(NAMES))
  if values.err then return nil, 'not a hash' end
  local j = {}
  for i, name in ipairs(NAMES) do j[name] = values[i] end
  j.queue = j.queue or 'default'
  if not j.state then return nil, 'no such job' end
  if not j.dropped and not (j.type and tonumber(j.attempt or 0)) then return nil, 'not a job' end
  return j
end

-- begin: the id lies in running:W and W is registered; what becomes of it depends on the job.
local function begin(id)
  local job = P .. 'job:' .. id
  local j, wrong = read(job)
  if not j then
    remove(id)
    quarantine(id, 'running:' .. W, wrong)
  elseif j.dropped then
    remove(id)
    vanish(id, job, j.state)
  elseif j.state == 'running' and j.worker == W then
    owned(id, j)
  elseif j.state ~= 'pending' then
    remove(id)
    quarantine(id, 'running:' .. W, 'in a list, but ' .. j.state)
  elseif (tonumber(j.expires_at) or now + 1) <= now then
    remove(id)
    cancelled(id, j.queue, 'pending')
    count('expired_total')
  elseif free == 0 or is_paused(j.queue) then
    count('returned_total')
    give_back(id, j)
  else
    start(id, job, j)
  end
end

local seen = {}
for i = 9 + lists, #ARGV do
  local id = ARGV[i]
  if not seen[id] and redis.call('LPOS', RUNNING, id) then begin(id) end
  seen[id] = true
end
local moves = 0
for i = 9, 8 + lists do
  while free > 0 and moves < MOVES do
    local id = redis.call('LMOVE', P .. ARGV[i], RUNNING, 'LEFT', 'RIGHT')
    if not id then break end
    moves = moves + 1
    begin(id)
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
