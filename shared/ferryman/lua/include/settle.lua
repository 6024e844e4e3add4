-- Whether an attempt is still the caller's to settle. Every check comes before the first write:
-- Lua has no rollback. LREM is the last check and the first write in one.
local OK, LOST = 1, 0

-- The job's fields when it is; otherwise nil and the answer: OK for a repeat of the settle
-- already stored (its reply was lost), LOST for anything else, another settle of this attempt too.
-- `settled_by` says which it was; not stored for finish.
local function mine(id, attempt, verb)
  local j = redis.pcall('HMGET', P .. 'job:' .. id, 'state', 'worker', 'attempt', 'settled',
    'queue', 'priority', 'alone', 'failures', 'errors', 'cancel_requested', 'dropped', 'settled_by')
  if not j.err then
    if j[1] == 'running' and j[2] == W and j[3] == attempt
      and redis.call('LREM', P .. 'running:' .. W, 1, id) == 1 then
      return {
        key = P .. 'job:' .. id, queue = j[5] or 'default', priority = j[6], alone = j[7],
        failures = whole(j[8]), errors = j[9], cancel = j[10], dropped = j[11],
        settled_by = j[12],
      }
    end
    if j[4] == attempt and (j[12] or 'finish') == verb then return nil, OK end
  end
  count('fenced_total')
  return nil, LOST
end
