#!lua flags=no-writes,allow-oom
-- stats: every counter at one moment.
-- KEYS[1] prefix
-- ARGV head
-- Returns {{field, n, ...} of `stats`, length of dlq, workers, {queue, {field, n, ...}, ...},
--   the most seconds (text) since a worker heard Redis, of the first 1,000}.
-- @include head
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
return {redis.call('HGETALL', P .. 'stats'), redis.call('LLEN', P .. 'dlq'),
  redis.call('ZCARD', P .. 'workers'), queues, oldest}
