#!lua flags=allow-oom
-- retry: attempts that ended in an error and run again later; running -> scheduled.
-- KEYS[1] prefix
-- ARGV head, then per job: id, attempt, delay in seconds, error, entry for `errors` (JSON object),
--   max_attempts in force when the job itself names none | ''
-- Returns OK (1) or LOST (0) per job. A job asked to stop meanwhile is cancelled instead.
-- @include head
-- @include count
-- @include observe
-- @include settle
-- @include schedule
-- @include cancelled
-- @include errors
local answer = {}
for i = 4, #ARGV, 6 do
  local id, attempt = ARGV[i], ARGV[i + 1]
  local j, status = mine(id, attempt, 'retry')
  if j then
    local due = now + tonumber(ARGV[i + 2])
    redis.call('HSET', j.key, 'failures', j.failures + 1, 'error', ARGV[i + 3],
      'settled', attempt, 'settled_by', 'retry', 'errors', with_error(j.errors, ARGV[i + 4]))
    if ARGV[i + 5] ~= '' then redis.call('HSET', j.key, 'max_attempts', ARGV[i + 5]) end
    count('failed_total')
    count('retried_total')
    add(j.meter, 'failed')
    add(j.meter, 'retried')
    ran(j.meter, 'failed', j.key)
    if j.cancel then
      cancelled(id, j.queue, 'running', j.dropped, j.meter, j.created_at)
    else
      redis.call('HSET', j.key, 'state', 'scheduled', 'run_at', stamp(due))
      schedule(id, due)
      shift(j.queue, 'running', 'scheduled')
    end
    status = OK
  end
  answer[#answer + 1] = status
end
write_counts()
return answer
