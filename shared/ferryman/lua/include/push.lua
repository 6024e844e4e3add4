-- The one way into a pending list, or into the held one while the queue is paused.
local place = {}
local function is_paused(queue)
  if place[queue] == nil then
    place[queue] = redis.call('HGET', P .. 'queue:' .. queue, 'paused') and 'held:' or 'pending:'
  end
  return place[queue] == 'held:'
end

-- `command`: RPUSH to the tail, LPUSH to the head. A job that must run alone has a list of its own.
-- A queue or priority of no proper name has a list that nobody serves: the job goes where a claim
-- finds it, and what is wrong with it.
local function push(command, id, queue, priority, alone)
  if string.find(queue, '[^%w._-]') or queue == '' then queue = 'default' end
  is_paused(queue)
  local level = alone and 'alone' or priority or 'normal'
  if level ~= 'high' and level ~= 'low' and level ~= 'alone' then level = 'normal' end
  redis.call(command, P .. place[queue] .. queue .. ':' .. level, id)
end
