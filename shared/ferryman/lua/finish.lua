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
local seconds, answer = 0, {}

local function observe(duration)
  seconds = seconds + duration
  for _, bound in ipairs(BUCKETS) do
    if duration <= bound then return count('duration_le_' .. bound) end
  end
  count('duration_le_inf')
end

for i = 4, #ARGV, 4 do
  local id, attempt, result = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local j, status = mine(id, attempt)
  if j then
    redis.call('HSET', j.key, 'state', 'completed', 'completed_at', NOW, 'settled', attempt)
    if result ~= '' then redis.call('HSET', j.key, 'result', result) end
    if j.errors then redis.call('HDEL', j.key, 'error') end
    if not j.dropped then redis.call('EXPIRE', j.key, RETENTION) end
    redis.call('LPUSH', P .. 'finished', id)
    shift(j.queue, 'running', 'completed')
    count('processed_total')
    observe(tonumber(ARGV[i + 3]))
    status = OK
  end
  answer[#answer + 1] = status
end
if seconds > 0 then redis.call('HINCRBYFLOAT', P .. 'stats', 'duration_sum', stamp(seconds)) end
forget()
write_counts()
return answer
