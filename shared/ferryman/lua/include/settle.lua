-- Whether an attempt is still the caller's to settle. Every check comes before the first write:
-- Lua has no rollback. LREM is the last check and the first write in one.
local OK, LOST = 1, 0

-- What all but a finish need too.
local function with_rest(job)
  local j = redis.call('HMGET', job.key, 'priority', 'alone', 'failures', 'cancel_requested')
  job.priority, job.alone, job.failures, job.cancel = j[1], j[2], whole(j[3]), j[4]
  return job
end

-- The job's fields when it is; otherwise nil and the answer: OK for a repeat of the settle
-- already stored (its reply was lost), LOST for anything else, another settle of this attempt too.
-- `settled_by` says which it was; not stored for finish.
local function mine(id, attempt, verb)
  local key = P .. 'job:' .. id
  local j = redis.pcall('HMGET', key, 'state', 'worker', 'attempt', 'settled', 'queue', 'type',
    'created_at', 'errors', 'dropped', 'settled_by')
  if not j.err then
    if j[1] == 'running' and j[2] == W and j[3] == attempt
      and redis.call('LREM', P .. 'running:' .. W, 1, id) == 1 then
      local queue = j[5] or 'default'
      local job = {
        key = key, queue = queue, meter = meter(queue, j[6]), created_at = j[7], errors = j[8],
        dropped = j[9], settled_by = j[10],
      }
      return verb == 'finish' and job or with_rest(job)
    end
    if j[4] == attempt and (j[10] or 'finish') == verb then return nil, OK end
  end
  count('fenced_total')
  return nil, LOST
end
