-- Jobs counted by where they lie. Every worker is one that is registered or was reaped: only these
-- may hold a list.
local IDS, NAMES, LEVELS = 2000, 5000, {'high', 'normal', 'low', 'alone'}

local function holders()
  local workers, reaped = P .. 'workers', P .. 'reaped'
  if redis.call('ZCARD', workers) + redis.call('ZCARD', reaped) > NAMES then return end
  local names = redis.call('ZRANGE', workers, 0, -1)
  for _, name in ipairs(redis.call('ZRANGE', reaped, 0, -1)) do names[#names + 1] = name end
  return names
end

local function queue_of(j) return j[1] or string.match(j[2] or '', '^([^:]*):') or 'default' end

-- Of each queue: entries in its own lists and in the workers' lists, and how many of these are
-- begun. Nil when there are too many workers or claimed ids to look at within 5 ms.
local function census(queues)
  local entries, begun, left, names = {}, {}, IDS, holders()
  if not names then return end
  for _, queue in ipairs(queues) do
    entries[queue], begun[queue] = 0, 0
    for _, level in ipairs(LEVELS) do
      local list = queue .. ':' .. level
      entries[queue] = entries[queue] + redis.call('LLEN', P .. 'pending:' .. list)
        + redis.call('LLEN', P .. 'held:' .. list)
    end
  end
  for _, worker in ipairs(names) do
    local ids = redis.call('LRANGE', P .. 'running:' .. worker, 0, left)
    left = left - #ids
    if left < 0 then return end
    for _, id in ipairs(ids) do
      local j = redis.pcall('HMGET', P .. 'job:' .. id, 'queue', 'lies_in', 'state', 'worker')
      local queue = queue_of(j)
      if entries[queue] then
        entries[queue] = entries[queue] + 1
        if j[3] == 'running' and j[4] == worker then begun[queue] = begun[queue] + 1 end
      end
    end
  end
  return entries, begun
end

-- Scheduled jobs by queue; nil when there are too many to look at within 5 ms.
local function scheduled()
  if redis.call('ZCARD', P .. 'scheduled') > IDS then return end
  local by_queue = {}
  for _, id in ipairs(redis.call('ZRANGE', P .. 'scheduled', 0, -1)) do
    local queue = redis.call('HGET', P .. 'job:' .. id, 'queue') or 'default'
    by_queue[queue] = (by_queue[queue] or 0) + 1
  end
  return by_queue
end
