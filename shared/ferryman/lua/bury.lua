#!lua flags=allow-oom
-- bury: attempts whose job is given up; running -> failed, in the dead-letter list, no TTL.
-- KEYS[1] prefix
-- ARGV head, then per job: id, attempt, error, entry for `errors` (JSON object),
--   max_attempts in force when the job itself names none | ''
-- Returns OK (1) or LOST (0) per job.
-- @include head
-- @include count
-- @include observe
-- @include settle
-- @include errors
local answer = {}
for i = 4, #ARGV, 5 do
  local id, attempt = ARGV[i], ARGV[i + 1]
  local j, status = mine(id, attempt, 'bury')
  if j then
    redis.call('HSET', j.key, 'state', 'failed', 'failures', j.failures + 1, 'error', ARGV[i + 2],
      'completed_at', NOW, 'settled', attempt, 'settled_by', 'bury',
      'errors', with_error(j.errors, ARGV[i + 3]))
    if ARGV[i + 4] ~= '' then redis.call('HSET', j.key, 'max_attempts', ARGV[i + 4]) end
    redis.call('LPUSH', P .. 'dlq', id)
    shift(j.queue, 'running', 'failed')
    count('failed_total')
    count('dlq_total')
    add(j.meter, 'failed')
    ran(j.meter, 'failed', j.key)
    ended(j.meter, 'dead', j.created_at)
    status = OK
  end
  answer[#answer + 1] = status
end
write_counts()
return answer
