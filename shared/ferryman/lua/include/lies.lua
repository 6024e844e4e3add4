-- How often an id lies in a list, or in the lists of all workers.
local ENDS = 10000

local function positions(id, list, ...)
  local found = redis.pcall('LPOS', list, id, 'COUNT', 0, ...)
  return found and not found.err and found or {}
end

-- `ends`: only the first and last ENDS elements of a long list are looked at.
local function entries(id, name, ends)
  local list = P .. name
  local length = ends and redis.pcall('LLEN', list) or 0
  if type(length) ~= 'number' or length <= 2 * ENDS then return #positions(id, list) end
  return #positions(id, list, 'MAXLEN', ENDS) + #positions(id, list, 'RANK', -1, 'MAXLEN', ENDS)
end

local function entries_of_workers(id)
  local found = 0
  for _, roll in ipairs({'workers', 'reaped'}) do
    for _, worker in ipairs(redis.call('ZREVRANGE', P .. roll, 0, 999)) do
      found = found + #positions(id, P .. 'running:' .. worker)
    end
  end
  return found
end
