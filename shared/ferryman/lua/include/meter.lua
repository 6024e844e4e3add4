-- What happens to jobs, by queue and type: summed over the call and written once per field that
-- changed, by write_meters(). At most PAIRS pairs have a hash of their own: what comes later, and
-- what has an odd name, is written as `other`, so that nobody can fill Redis with labels.
local PAIRS, OTHER, meters = 200, 'other:other', {}
local last_queue, last_type, last_meter

-- The jobs of one call are mostly of one pair: the meter of the last one is at hand.
local function meter(queue, job_type)
  if queue == last_queue and job_type == last_type then return last_meter end
  local types = meters[queue] or {}
  meters[queue] = types
  local m = types[job_type or ''] or {}
  types[job_type or ''] = m
  last_queue, last_type, last_meter = queue, job_type, m
  return m
end

local function add(m, event) m[event] = (m[event] or 0) + 1 end

-- Sums are kept in whole microseconds: HINCRBYFLOAT takes 2 us longer.
local function micros(seconds) return math.floor(seconds * 1e6 + 0.5) end

-- The pair's name in `labels` and in its key; no queue has a colon in its name.
local function label(queue, job_type)
  local pair = queue .. ':' .. job_type
  if redis.call('SISMEMBER', P .. 'labels', pair) == 1 then return pair end
  local plain = #queue <= 64 and string.find(queue, '^[%w._-]+$')
    and #job_type <= 128 and string.find(job_type, '^[%w._:/-]+$')
  -- One place is kept for `other`.
  if not plain or redis.call('SCARD', P .. 'labels') >= PAIRS - 1 then pair = OTHER end
  redis.call('SADD', P .. 'labels', pair)
  return pair
end

local function an_event(m)
  for event, n in pairs(m) do
    if type(n) == 'number' then return event, n end
  end
end

-- The key of a meter, one of its events written. An event that was there before says that the pair
-- is among `labels`: to look would cost a script of one job 4 us. It is looked at again when a job
-- is created, so that labels that were lost come back.
local function begin_meter(queue, job_type, m)
  local key = P .. 'metrics:' .. queue .. ':' .. job_type
  local event, n = an_event(m)
  local is_known = event and redis.call('HINCRBY', key, event, n) > n and not m.created
  local own = is_known and key or P .. 'metrics:' .. label(queue, job_type)
  if own ~= key then
    redis.call('DEL', key)
  elseif event then
    m[event] = nil
  end
  return own
end

local function write_meter(queue, job_type, m)
  local key = begin_meter(queue, job_type, m)
  for field, n in pairs(m) do
    if type(n) == 'number' then
      redis.call('HINCRBY', key, field, n)
    else
      redis.call('HINCRBY', key, field .. ':sum', micros(n.sum))
      for nth, bound in ipairs(n.bounds) do
        if n[nth] then redis.call('HINCRBY', key, field .. ':' .. bound, n[nth]) end
      end
    end
  end
end

local function write_meters()
  for queue, types in pairs(meters) do
    for job_type, m in pairs(types) do
      if next(m) then write_meter(queue, job_type, m) end
    end
  end
end
