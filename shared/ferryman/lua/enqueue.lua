#!lua
-- enqueue: accept jobs, all or none. Not allow-oom: a full Redis refuses new work first.
-- KEYS[1] prefix
-- ARGV head, then max_pending, cap of `recent`, seconds an idempotency key lives, jobs; per job:
--   id, queue, priority, delay | '', run_at | '', idempotency key | '', digest | '', fields,
--   (field, value)..., `type` the first
-- Returns {'OK', id, is_new, ...}, {'CONFLICT', nth}, {'FULL', queue, limit} or {'MEMORY'}. What is
--   refused for want of room is counted; nothing else is written.
-- Races with a repeat of itself: the same id or key is answered with the first job.
-- @include head
-- @include count
-- @include push
-- @include schedule
-- @include gate
local MAX_PENDING, RECENT_CAP, KEY_TTL = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local recent, unseen = 0, {}

local function read_jobs()
  local jobs, at = {}, 8
  for n = 1, tonumber(ARGV[7]) do
    local last = at + 7 + 2 * tonumber(ARGV[at + 7])
    jobs[n] = {
      id = ARGV[at], queue = ARGV[at + 1], priority = ARGV[at + 2], delay = tonumber(ARGV[at + 3]),
      run_at = tonumber(ARGV[at + 4]), key = ARGV[at + 5], digest = ARGV[at + 6],
      first = at + 8, last = last, type = ARGV[at + 9],
    }
    at = last + 1
  end
  return jobs
end

-- The id and digest of the job this one repeats, if any: by its key, then by its id, in Redis or
-- earlier in this call.
local function repeats(job, seen)
  local key = job.key ~= '' and 'idem:' .. job.key
  local by_key = key and (seen[key] or redis.call('GET', P .. key))
  for _, id in ipairs(by_key and {by_key, job.id} or {job.id}) do
    if seen['id:' .. id] then return id, seen['id:' .. id] end
    local known = redis.call('HMGET', P .. 'job:' .. id, 'state', 'digest', 'deleted', 'dropped',
      'lies_in')
    if known[1] and not known[3] then return id, known[2] or '' end
    if id == job.id then job.dropped, job.lies_in = known[4] and whole(known[4]), known[5] end
  end
end

-- One look at a queue serves all that is asked of it here: its room, its pause, whether it is new.
local function room(queue, more)
  local q = redis.call('HMGET', P .. 'queue:' .. queue, 'max_pending', 'pending', 'scheduled',
    'blocked', 'paused')
  place[queue] = q[5] and 'held:' or 'pending:'
  if not (q[2] or q[3] or q[4]) then unseen[#unseen + 1] = queue end
  local limit = q[1] and string.find(q[1], '^%d+$') and tonumber(q[1]) or MAX_PENDING
  return whole(q[2]) + whole(q[3]) + whole(q[4]) + more <= limit, limit
end

-- A deleted job of this id may have left an entry in a list, perhaps of another queue: it goes, so
-- that the id lies where it belongs. Only this rare case searches a list.
local function clear_away(job)
  for _, place in ipairs(job.lies_in and {'pending:', 'held:'} or {}) do
    job.dropped = job.dropped - redis.call('LREM', P .. place .. job.lies_in, 1, job.id)
  end
  redis.call('DEL', P .. 'job:' .. job.id)
end

local function write(job)
  local key = P .. 'job:' .. job.id
  local due = job.run_at or (job.delay and now + job.delay)
  local state = (due and due > now) and 'scheduled' or 'pending'
  if job.dropped then clear_away(job) end
  redis.call('HSET', key, 'state', state, 'created_at', NOW, unpack(ARGV, job.first, job.last))
  if job.dropped and job.dropped > 0 then redis.call('HSET', key, 'dropped', job.dropped) end
  if job.key ~= '' then redis.call('SET', P .. 'idem:' .. job.key, job.id, 'EX', KEY_TTL) end
  if state == 'scheduled' then
    redis.call('HSET', key, 'run_at', stamp(due))
    schedule(job.id, due)
  else
    push('RPUSH', job.id, job.queue, job.priority)
  end
  recent = redis.call('LPUSH', P .. 'recent', job.id)
  shift(job.queue, nil, state)
  local m = meter(job.queue, job.type)
  m.created = (m.created or 0) + 1
end

local function refused(n, why)
  count('refused_total', n)
  if why[1] == 'MEMORY' then count('refused_memory_total', n) end
  write_counts()
  return why
end

local jobs, seen, more, fresh, answer = read_jobs(), {}, {}, 0, {'OK'}
for n, job in ipairs(jobs) do
  local id, digest = repeats(job, seen)
  if id and digest ~= job.digest and job.digest ~= '' then return {'CONFLICT', n} end
  if not id then
    id, job.is_new = job.id, true
    more[job.queue], fresh = (more[job.queue] or 0) + 1, fresh + 1
    seen['id:' .. id] = job.digest
    if job.key ~= '' then seen['idem:' .. job.key] = id end
  end
  answer[#answer + 1] = id
  answer[#answer + 1] = job.is_new and 1 or 0
end
if fresh > 0 and gate_is_closed() then return refused(fresh, {'MEMORY'}) end
for queue, n in pairs(more) do
  local fits, limit = room(queue, n)
  if not fits then return refused(fresh, {'FULL', queue, limit}) end
end
for _, job in ipairs(jobs) do
  if job.is_new then write(job) else add(meter(job.queue, job.type), 'deduplicated') end
end
count('created_total', fresh)
if unseen[1] then redis.call('SADD', P .. 'queues', unpack(unseen)) end
if recent > RECENT_CAP then redis.call('LTRIM', P .. 'recent', 0, RECENT_CAP - 1) end
write_counts()
return answer
