#!lua flags=allow-oom
-- beat: a supervisor renews the leases of its children and looks around, in one call.
-- KEYS[1] prefix
-- ARGV head (W: the supervisor), then lease in seconds, instance the caller worked on ('' when it
--   knows none), 1 while it stops, workers, (worker, busy, seconds since it heard Redis | '')...,
--   queue...
-- Returns {leads upkeep (1|0), {1|0 per worker; 0: reaped, its lease is lost},
--   {worker, id asked to stop, ...}, {worker past its lease, its beat, ...},
--   jobs of the queues that wait to run alone, instance of these data | ''}.
-- @include head
-- @include gate
local lease, known_instance, n = now + tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[7])
local alive, cancels, late, alone = {}, {}, {}, 0
local instance = redis.call('HGET', P .. 'meta', 'instance') or ''

local function stop_requests(worker)
  local list = P .. 'cancel:' .. worker
  for _, id in ipairs(redis.call('LRANGE', list, 0, 99)) do
    local j = redis.call('HMGET', P .. 'job:' .. id, 'state', 'worker', 'cancel_requested')
    if j[1] == 'running' and j[2] == worker and j[3] then
      cancels[#cancels + 1] = worker
      cancels[#cancels + 1] = id
    else
      redis.call('LREM', list, 0, id)
    end
  end
end

for i = 8, 7 + 3 * n, 3 do
  local worker = ARGV[i]
  local known = redis.call('ZSCORE', P .. 'workers', worker)
  if known then
    redis.call('ZADD', P .. 'workers', stamp(lease), worker)
    redis.call('HINCRBY', P .. 'worker:' .. worker, 'beat', 1)
    redis.call('HSET', P .. 'worker:' .. worker, 'busy', ARGV[i + 1])
    if ARGV[6] == '1' then redis.call('HSET', P .. 'worker:' .. worker, 'stopping', 1) end
    if ARGV[i + 2] ~= '' then
      redis.call('HSET', P .. 'worker:' .. worker, 'claim_age', ARGV[i + 2])
    end
    -- Only `meta` is gone, not the data: they keep their name.
    if instance == '' and known_instance ~= '' then
      instance = known_instance
      redis.call('HSET', P .. 'meta', 'instance', instance)
    end
    stop_requests(worker)
  end
  alive[#alive + 1] = known and 1 or 0
end
local expired = redis.call('ZRANGEBYSCORE', P .. 'workers', '-inf', NOW, 'LIMIT', 0, 100)
for _, worker in ipairs(expired) do
  late[#late + 1] = worker
  late[#late + 1] = redis.call('HGET', P .. 'worker:' .. worker, 'beat') or ''
end
for i = 8 + 3 * n, #ARGV do
  alone = alone + redis.call('LLEN', P .. 'pending:' .. ARGV[i] .. ':alone')
end
-- The upkeep lease only saves work: every step of upkeep may run anywhere, any number of times.
local leader = redis.call('GET', P .. 'upkeep')
if not leader or leader == W then
  redis.call('SET', P .. 'upkeep', W, 'PX', 3000)
  watch_memory()
end
if known_instance ~= '' and instance ~= '' and instance ~= known_instance then
  redis.call('HINCRBY', P .. 'stats', 'replaced_total', 1)
end
return {(not leader or leader == W) and 1 or 0, alive, cancels, late, alone, instance}
