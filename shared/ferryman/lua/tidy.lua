#!lua flags=allow-oom
-- tidy: a repair of one key, done only if it is still due.
-- KEYS[1] prefix
-- ARGV head, then what, its words
-- Returns 1 when something was done, else 0. What takes long is done in parts: ask again until 0.
-- @include head
-- @include erase
-- @include forget
local what, a, b = ARGV[4], ARGV[5], ARGV[6]

-- Moves up to 1,000 ids of a list before those of another; at once when there are no others.
local function move(source, target)
  if redis.call('EXISTS', source) == 0 then return 0 end
  if redis.call('RENAMENX', source, target) == 1 then return 1 end
  for _ = 1, 1000 do
    if not redis.call('LMOVE', source, target, 'RIGHT', 'LEFT') then break end
  end
  return 1
end

local tidy = {
  -- A key of the wrong type `b` makes way; nothing in it is lost.
  aside = function()
    if redis.call('TYPE', P .. a).ok ~= b then return 0 end
    return redis.call('RENAMENX', P .. a, P .. 'aside:' .. a .. ':' .. NOW)
  end,
  -- The list `b` of queue `a` goes where the queue's pause says.
  shelve = function()
    local paused = redis.call('HEXISTS', P .. 'queue:' .. a, 'paused') == 1
    local from, to = paused and 'pending:' or 'held:', paused and 'held:' or 'pending:'
    return move(P .. from .. a .. ':' .. b, P .. to .. a .. ':' .. b)
  end,
  -- Queue `a` is known again.
  known = function() return redis.call('SADD', P .. 'queues', a) end,
  -- The lease of worker `a` ends at most `b` seconds from now.
  lease = function()
    local score = redis.call('ZSCORE', P .. 'workers', a)
    if not score or tonumber(score) <= now + tonumber(b) * 10 then return 0 end
    redis.call('ZADD', P .. 'workers', stamp(now + tonumber(b)), a)
    return 1
  end,
  -- List `a` keeps `b` elements; at most 10,000 go in a call.
  trim = function()
    local over = redis.call('LLEN', P .. a) - tonumber(b)
    if over <= 0 then return 0 end
    if a == 'finished' then
      forget()
    else
      redis.call('LTRIM', P .. a, 0, -1 - math.min(over, 10000))
    end
    return 1
  end,
  -- Idempotency key `a` leads to a job, or is gone; it always ends.
  idem = function()
    local id = redis.call('GET', P .. 'idem:' .. a)
    if not id then return 0 end
    local known = redis.call('EXISTS', P .. 'job:' .. id) == 1
    if known then return redis.call('EXPIRE', P .. 'idem:' .. a, b, 'NX') end
    return redis.call('DEL', P .. 'idem:' .. a)
  end,
  -- Field `b` of counters `a` is a number again; what it should be is counted later.
  zero = function()
    local value = redis.call('HGET', P .. a, b)
    local most = b == 'duration_sum' and 18 or 16
    if not value or (#value <= most and string.match(value, '^-?%d+$')) then return 0 end
    redis.call('HSET', P .. a, b, 0)
    return 1
  end,
  -- What is left of worker `a`, which is not on the roll.
  stray = function()
    if redis.call('ZSCORE', P .. 'workers', a) then return 0 end
    return math.min(1, redis.call('DEL', P .. 'worker:' .. a, P .. 'cancel:' .. a))
  end,
}
return tidy[what]()
