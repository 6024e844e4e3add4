#!lua flags=allow-oom
-- sweep: reaped workers whose list holds an id again: a claim that was under way when they died.
-- And keys of another type than the scripts use are set aside.
-- KEYS[1] prefix
-- ARGV head, then seconds a reaped name with an empty list is remembered, names to look at,
--   first of them (newest: 0)
-- Returns {names looked at, worker...}.
-- @include head
-- Scripts that only read cannot set aside what lies in their way: a look at what they read does.
local READ = {
  LLEN = {'dlq', 'recent', 'finished', 'quarantine', 'wake'}, SCARD = {'queues', 'labels'},
  ZCARD = {'scheduled', 'workers', 'reaped'}, HLEN = {'stats', 'meta', 'audit'},
}

local function set_right()
  for command, names in pairs(READ) do
    for _, name in ipairs(names) do redis.call(command, P .. name) end
  end
  for i, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
    if i > 1000 then break end
    redis.call('HLEN', P .. 'queue:' .. queue)
  end
end

if ARGV[6] == '0' then set_right() end
local old = stamp(now - tonumber(ARGV[4]))
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', P .. 'reaped', '-inf', old, 'LIMIT', 0, 100)) do
  if redis.call('EXISTS', P .. 'running:' .. worker) == 0 then
    redis.call('ZREM', P .. 'reaped', worker)
  end
end
local first, found = tonumber(ARGV[6]), {0}
local names = redis.call('ZREVRANGE', P .. 'reaped', first, first + tonumber(ARGV[5]) - 1)
for _, worker in ipairs(names) do
  if redis.call('EXISTS', P .. 'running:' .. worker) == 1 then found[#found + 1] = worker end
end
found[1] = #names
return found
