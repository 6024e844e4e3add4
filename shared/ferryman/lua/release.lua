#!lua flags=allow-oom
-- release: attempts cut short through no fault of theirs; running -> pending, at the head, nothing
-- charged. Given in the order they were claimed, they lie in that order again.
-- KEYS[1] prefix
-- ARGV head, then alone (1: they run alone in a child next), per job: id, attempt
-- Returns OK (1) or LOST (0) per job. A job asked to stop meanwhile is cancelled instead.
-- @include head
-- @include count
-- @include observe
-- @include settle
-- @include push
-- @include cancelled
local alone, answer, n = ARGV[4] == '1', {}, (#ARGV - 4) / 2
for i = n, 1, -1 do
  local id, attempt = ARGV[3 + 2 * i], ARGV[4 + 2 * i]
  local j, status = mine(id, attempt, 'release')
  if j then
    redis.call('HSET', j.key, 'settled', attempt, 'settled_by', 'release', 'updated_at', NOW)
    ran(j.meter, j.cancel and 'cancelled' or 'released', j.key)
    if j.cancel then
      cancelled(id, j.queue, 'running', j.dropped, j.meter, j.created_at)
    else
      redis.call('HSET', j.key, 'state', 'pending', 'ready_at', NOW)
      if alone then redis.call('HSET', j.key, 'alone', 1) end
      push('LPUSH', id, j.queue, j.priority, alone or j.alone)
      shift(j.queue, 'running', 'pending')
      count('released_total')
      add(j.meter, 'released')
    end
    status = OK
  end
  answer[i] = status
end
write_counts()
return answer
