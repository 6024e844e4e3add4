-- @include meter
-- Counters are summed over the call and written once, by write_counts().
local totals, by_queue = {}, {}
local function count(event, n) totals[event] = (totals[event] or 0) + (n or 1) end

-- One job of `queue` leaves state `from` (nil: it is new) for state `to`.
local function shift(queue, from, to)
  local q = by_queue[queue] or {}
  by_queue[queue] = q
  if from then q[from] = (q[from] or 0) - 1 end
  q[to] = (q[to] or 0) + 1
end

local function write_counts()
  for queue, fields in pairs(by_queue) do
    for field, n in pairs(fields) do
      count(field, n)
      if n ~= 0 then redis.call('HINCRBY', P .. 'queue:' .. queue, field, n) end
    end
  end
  for field, n in pairs(totals) do
    if n ~= 0 then redis.call('HINCRBY', P .. 'stats', field, n) end
  end
  write_meters()
end
