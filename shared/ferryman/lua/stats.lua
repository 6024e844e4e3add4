#!lua flags=no-writes,allow-oom
-- stats: every counter at one moment.
-- KEYS[1] prefix
-- ARGV head
-- Returns {{field, n, ...} of `stats`, length of dlq, workers, {queue, {field, n, ...}, ...}}.
-- @include head
local queues = {}
for i, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
  if i > 1000 then break end
  queues[#queues + 1] = queue
  queues[#queues + 1] = redis.call('HGETALL', P .. 'queue:' .. queue)
end
return {redis.call('HGETALL', P .. 'stats'), redis.call('LLEN', P .. 'dlq'),
  redis.call('ZCARD', P .. 'workers'), queues}
