#!lua flags=allow-oom
-- finish: attempts that ended well; running -> completed.
-- KEYS[1] prefix
-- ARGV head, then per job: id, attempt, result (JSON) | '', seconds the run took
-- Returns OK (1) or LOST (0) per job.
-- Races with recover: the fence (worker and attempt) decides; a late finish changes nothing.
-- @include head
-- @include count
-- @include settle
-- @include erase
-- @include forget
-- Upper bounds of job_processing_duration_seconds; ferryman.metrics reads the same list.
local BUCKETS = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800}
local seconds, answer, finished, names = 0, {}, {}, {}

local function observe(duration)
  seconds = seconds + duration
  local nth = 1
  while BUCKETS[nth] and duration > BUCKETS[nth] do nth = nth + 1 end
  names[nth] = names[nth] or 'duration_le_' .. (BUCKETS[nth] or 'inf')
  count(names[nth])
end

for i = 4, #ARGV, 4 do
  local id, attempt, result = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local j, status = mine(id, attempt, 'finish')
  if j then
    redis.call('HSET', j.key, 'state', 'completed', 'completed_at', NOW, 'settled', attempt)
    if result ~= '' then redis.call('HSET', j.key, 'result', result) end
    if j.errors then redis.call('HDEL', j.key, 'error') end
    if j.settled_by then redis.call('HDEL', j.key, 'settled_by') end
    if not j.dropped then redis.call('EXPIRE', j.key, RETENTION) end
    finished[#finished + 1] = id
    shift(j.queue, 'running', 'completed')
    observe(tonumber(ARGV[i + 3]))
    status = OK
  end
  answer[#answer + 1] = status
end
if finished[1] then
  count('processed_total', #finished)
  redis.call('LPUSH', P .. 'finished', unpack(finished))
  redis.call('HINCRBYFLOAT', P .. 'stats', 'duration_sum', stamp(seconds))
end
forget()
write_counts()
return answer
