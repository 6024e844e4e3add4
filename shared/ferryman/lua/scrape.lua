#!lua flags=no-writes,allow-oom
-- scrape: what /metrics shows but for the meters, which are read one by one: 200 of them would take
-- a script 3 to 13 ms.
-- KEYS[1] prefix
-- ARGV head
-- Returns {counters as include/stats.lua gives them, {pair of `labels`, ...},
--   {queue, seconds its oldest ready job has waited (text), ...},
--   {queue, seconds since its oldest dead letter died (text), ...},
--   per worker of the first 1,000 {1 when its lease is over, stopping, slots, busy, queues},
--   {used memory, maxmemory} in bytes, empty where INFO may not be asked, instance of these data |
--   ''}.
-- What takes long is looked at in part: HEADS entries of each list, LOOKS in all, LETTERS of
-- the oldest dead letters. A queue that was not reached is left out.
-- @include head
-- @include gate
-- @include stats
local HEADS, LOOKS, LETTERS = 10, 1000, 1000

local function age(time) return math.max(0, now - (tonumber(time) or now)) end

-- Fields of a hash as a table; empty for a key of another type.
local function hash(flat)
  local fields = {}
  for i = 1, flat.err and 0 or #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

-- The first live job of a list. Jobs come in at the tail, so it is the oldest, but for one that was
-- put back to the head.
local looks = 0
local function head_age(list)
  local ids = redis.pcall('LRANGE', list, 0, HEADS - 1)
  looks = looks + 1
  for i = 1, ids.err and 0 or #ids do
    local j = redis.pcall('HMGET', P .. 'job:' .. ids[i], 'state', 'ready_at', 'created_at')
    looks = looks + 1
    if j[1] == 'pending' then return age(j[2] or j[3]) end
  end
  return 0
end

local function latency(queue, q)
  local oldest, place = 0, P .. (q.paused and 'held:' or 'pending:')
  if whole(q.pending) > 0 then
    for _, level in ipairs({'high', 'normal', 'low', 'alone'}) do
      oldest = math.max(oldest, head_age(place .. queue .. ':' .. level))
    end
  end
  return stamp(oldest)
end

local function latencies(queues)
  local rows = {}
  for i = 1, #queues, 2 do
    if looks >= LOOKS then break end
    rows[#rows + 1] = queues[i]
    rows[#rows + 1] = latency(queues[i], hash(queues[i + 1]))
  end
  return rows
end

local function oldest_dead(queues)
  local ages, missing, rows = {}, 0, {}
  for i = 1, #queues, 2 do
    local dead = whole(hash(queues[i + 1]).failed) > 0
    if dead then missing = missing + 1 else ages[queues[i]] = '0' end
  end
  local letters = missing > 0 and redis.call('LRANGE', P .. 'dlq', -LETTERS, -1) or {}
  for i = #letters, 1, -1 do
    if missing == 0 then break end
    local j = redis.pcall('HMGET', P .. 'job:' .. letters[i], 'queue', 'completed_at')
    local queue = not j.err and (j[1] or 'default')
    if queue and not ages[queue] then
      ages[queue], missing = stamp(age(j[2])), missing - 1
    end
  end
  for queue, seconds in pairs(ages) do
    rows[#rows + 1] = queue
    rows[#rows + 1] = seconds
  end
  return rows
end

local function workers()
  local rows, roll = {}, redis.call('ZRANGE', P .. 'workers', 0, 999, 'WITHSCORES')
  for i = 1, #roll, 2 do
    local w = redis.pcall('HMGET', P .. 'worker:' .. roll[i], 'stopping', 'slots', 'busy', 'queues')
    local lost = tonumber(roll[i + 1]) < now and 1 or 0
    rows[#rows + 1] = {lost, w[1] and 1 or 0, whole(w[2]), whole(w[3]), w[4] or ''}
  end
  return rows
end

local function memory()
  local info = server.pcall('INFO', 'memory')
  if type(info) ~= 'string' then return {} end
  return {string.match(info, '\nused_memory:(%d+)') or '0',
    string.match(info, '\nmaxmemory:(%d+)') or '0'}
end

local labels, counted = redis.pcall('SMEMBERS', P .. 'labels'), counters()
local queues = counted[4]
local instance = redis.pcall('HGET', P .. 'meta', 'instance')
return {counted, labels.err and {} or labels, latencies(queues), oldest_dead(queues), workers(),
  memory(), type(instance) == 'string' and instance or ''}
