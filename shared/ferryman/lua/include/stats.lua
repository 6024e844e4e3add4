-- Every counter at one moment. Gives {{field, n, ...} of `stats`, length of dlq, workers,
--   {queue, {field, n, ...}, ...}, the most seconds (text) since a worker heard Redis, of the first
--   1,000, 1 while the memory gate is closed, violations found by the last check | -1, its age
--   (text)}.
local function counters()
  local queues = {}
  for i, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
    if i > 1000 then break end
    queues[#queues + 1] = queue
    queues[#queues + 1] = redis.call('HGETALL', P .. 'queue:' .. queue)
  end
  local oldest = '0'
  for _, worker in ipairs(redis.call('ZRANGE', P .. 'workers', 0, 999)) do
    local age = redis.pcall('HGET', P .. 'worker:' .. worker, 'claim_age')
    if (tonumber(age) or 0) > tonumber(oldest) then oldest = age end
  end
  local audit = redis.call('HMGET', P .. 'audit', 'at', 'violations')
  return {redis.call('HGETALL', P .. 'stats'), redis.call('LLEN', P .. 'dlq'),
    redis.call('ZCARD', P .. 'workers'), queues, oldest, gate_is_closed() and 1 or 0,
    audit[2] and whole(audit[2]) or -1, stamp(now - (tonumber(audit[1]) or now))}
end
