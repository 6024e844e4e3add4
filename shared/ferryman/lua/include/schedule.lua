-- The one way into `scheduled`; upkeep is woken only when this job is due before all others.
local function schedule(id, due)
  local first = redis.call('ZRANGE', P .. 'scheduled', 0, 0, 'WITHSCORES')
  redis.call('ZADD', P .. 'scheduled', stamp(due), id)
  if (not first[2] or due < tonumber(first[2])) and redis.call('LLEN', P .. 'wake') == 0 then
    redis.call('RPUSH', P .. 'wake', '1')
  end
end
