-- The oldest finished id goes, and its record with it: 1 when that was the last of the job.
-- `stale`: how many entries here are of lives before a revive; they go alone.
local function forget_oldest()
  local id = redis.call('RPOP', P .. 'finished')
  local job = P .. 'job:' .. id
  local j = redis.pcall('HMGET', job, 'state', 'dropped', 'idempotency_key', 'stale')
  if j[4] then
    if redis.call('HINCRBY', job, 'stale', -1) <= 0 then redis.call('HDEL', job, 'stale') end
  elseif not j[2] and (j[1] == 'completed' or j[1] == 'cancelled') then
    erase(id, j[3])
    return 1
  end
  return 0
end

-- Finished ids past the cap go, at most 200 a call.
local function forget()
  for _ = 1, math.min(redis.call('LLEN', P .. 'finished') - FINISHED_CAP, 200) do
    forget_oldest()
  end
end
