-- A key of another type than the scripts use, or a counter that is no number, would end a script
-- after its first writes: Lua has no rollback. So what a command meets in its way is set aside as
-- `aside:<key>:<time>` (a counter begins at 0 again), the quarantine says so, and the command runs
-- once more. Nothing is asked beforehand, and the rest is only made when it is needed: this is in
-- front of every call of every script.
local server, redis = redis, setmetatable({}, {__index = redis})
local attempt = server.pcall

-- Whether the way is free now. A script that may only read frees none.
local function made_way(reply, command, key, second)
  local function note(element, from, reason)
    redis.call('LPUSH', P .. 'quarantine', cjson.encode({
      at = NOW, from = string.sub(from, 1, 256), reason = reason,
      element = string.sub(element, 1, 256),
    }))
    redis.call('LTRIM', P .. 'quarantine', 0, 9999)
    redis.call('HINCRBY', P .. 'stats', 'quarantined_total', 1)
    return true
  end
  if string.find(reply, '^WRONGTYPE') then
    -- Only LMOVE has two keys, both lists.
    if command == 'LMOVE' and server.call('TYPE', key).ok == 'list' then key = second end
    local name = string.sub(key, #P + 1)
    local aside = 'aside:' .. name .. ':' .. NOW
    return attempt('RENAMENX', key, P .. aside) == 1
      and note(aside, name, 'a key of another type')
  end
  for _, words in ipairs({'hash value is not', 'would overflow', 'would produce'}) do
    if string.find(reply, words, 1, true) then
      local was = server.call('HGET', key, second)
      return type(attempt('HSET', key, second, 0)) == 'number'
        and note(was, string.sub(key, #P + 1) .. ' ' .. second, 'no number to add to')
    end
  end
end

function redis.call(...)
  local reply = attempt(...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if made_way(reply.err, ...) then return redis.call(...) end
  return error(reply)
end

-- For what may be of another type: only that comes back as an error, a refusal still ends the call.
function redis.pcall(...)
  local reply = attempt(...)
  if type(reply) ~= 'table' or not reply.err or string.find(reply.err, '^WRONGTYPE') then
    return reply
  end
  return error(reply)
end
