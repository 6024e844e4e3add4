#!lua flags=allow-oom
-- snooze: attempts that asked to run again later; running -> scheduled, nothing charged.
-- KEYS[1] prefix
-- ARGV head, then per job: id, attempt, delay in seconds
-- Returns OK (1) or LOST (0) per job. A job asked to stop meanwhile is cancelled instead.
-- @include head
-- @include count
-- @include observe
-- @include settle
-- @include schedule
-- @include cancelled
local answer = {}
for i = 4, #ARGV, 3 do
  local id, attempt = ARGV[i], ARGV[i + 1]
  local j, status = mine(id, attempt, 'snooze')
  if j then
    local due = now + tonumber(ARGV[i + 2])
    redis.call('HSET', j.key, 'settled', attempt, 'settled_by', 'snooze', 'updated_at', NOW)
    ran(j.meter, j.cancel and 'cancelled' or 'snoozed', j.key)
    if j.cancel then
      cancelled(id, j.queue, 'running', j.dropped, j.meter, j.created_at)
    else
      redis.call('HSET', j.key, 'state', 'scheduled', 'run_at', stamp(due))
      schedule(id, due)
      shift(j.queue, 'running', 'scheduled')
      count('snoozed_total')
      add(j.meter, 'snoozed')
    end
    status = OK
  end
  answer[#answer + 1] = status
end
write_counts()
return answer
