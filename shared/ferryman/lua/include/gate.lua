-- The memory gate: closed at 90 % of `maxmemory`, open again below 85 %, so that what was accepted
-- has room to be worked on. `meta` says since when it is closed (`memory_gate`) and when upkeep
-- looked last (`memory_seen`): one that nobody has looked at for a minute holds nobody up, nor one
-- seen in a time to come (the server's clock was set back).
local CLOSE, OPEN, STALE = 0.9, 0.85, 60

local function gate_is_closed()
  local gate = redis.call('HMGET', P .. 'meta', 'memory_gate', 'memory_seen')
  return gate[1] and math.abs(now - (tonumber(gate[2]) or 0)) < STALE
end

-- Looks at INFO (4 us) and sets the gate. Gives the seconds it has been closed; nil: it is open,
-- also where INFO may not be asked.
local function watch_memory()
  local info = server.pcall('INFO', 'memory')
  if type(info) ~= 'string' then info = '' end
  local most = tonumber(string.match(info, '\nmaxmemory:(%d+)')) or 0
  local used = tonumber(string.match(info, '\nused_memory:(%d+)')) or 0
  local since = redis.call('HGET', P .. 'meta', 'memory_gate')
  if most > 0 and used >= most * (since and OPEN or CLOSE) then
    since = math.min(tonumber(since) or now, now)
    redis.call('HSET', P .. 'meta', 'memory_gate', stamp(since), 'memory_seen', NOW)
    return now - since
  end
  if since then redis.call('HDEL', P .. 'meta', 'memory_gate', 'memory_seen') end
end
