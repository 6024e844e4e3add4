#!lua flags=allow-oom
-- finish: attempts that ended well; running -> completed.
-- KEYS[1] prefix
-- ARGV head, then per job: id, attempt, result (JSON) | '', seconds the run took
-- Returns OK (1) or LOST (0) per job.
-- Races with recover: the fence (worker and attempt) decides; a late finish changes nothing.
-- @include head
-- @include count
-- @include settle
-- @include observe
-- @include erase
-- @include forget
local answer, finished = {}, {}

-- The runs of this call by their time, whatever their queue and type.
local function count_durations()
  local sum = 0
  for _, types in pairs(meters) do
    for _, m in pairs(types) do
      local h = m['duration:completed']
      sum = sum + h.sum
      for nth, bound in ipairs(RUN) do
        if h[nth] then count('duration_le_' .. bound, h[nth]) end
      end
    end
  end
  count('duration_sum', micros(sum))
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
    observe(j.meter, 'duration:completed', RUN, tonumber(ARGV[i + 3]))
    ended(j.meter, 'completed', j.created_at)
    status = OK
  end
  answer[#answer + 1] = status
end
if finished[1] then
  count('processed_total', #finished)
  redis.call('LPUSH', P .. 'finished', unpack(finished))
  count_durations()
end
forget()
write_counts()
return answer
