-- Finished ids past the cap go with their records, oldest first, at most 200 a call.
local function forget()
  for _ = 1, math.min(redis.call('LLEN', P .. 'finished') - FINISHED_CAP, 200) do
    local job = P .. 'job:' .. redis.call('RPOP', P .. 'finished')
    local j = redis.pcall('HMGET', job, 'state', 'dropped', 'idempotency_key')
    if not j.err and (j[1] == 'completed' or j[1] == 'cancelled') and not j[2] then
      redis.call('DEL', job)
      if j[3] then redis.call('DEL', P .. 'idem:' .. j[3]) end
    end
  end
end
