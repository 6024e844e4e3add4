#!lua flags=allow-oom
-- promote: jobs that are due; scheduled -> pending, at the tail.
-- KEYS[1] prefix
-- ARGV head, then ids a call at most
-- Returns {ids that were due, of these to run alone, seconds to the next due (text) | ''}.
-- Races with itself on another worker and with cancel: ZREM lets one of them win.
-- @include head
-- @include count
-- @include observe
-- @include push
-- @include cancelled
-- @include quarantine
-- @include erase
-- @include forget
local alone = 0

local function promote(id)
  local job = P .. 'job:' .. id
  local j = redis.pcall('HMGET', job, 'state', 'queue', 'priority', 'alone', 'expires_at',
    'dropped', 'type', 'created_at')
  redis.call('ZREM', P .. 'scheduled', id)
  if j.err or j[1] ~= 'scheduled' then
    local reason = j.err and 'not a hash' or j[1] and 'is ' .. j[1] or 'no such job'
    return quarantine(id, 'scheduled', reason)
  end
  local queue = j[2] or 'default'
  if (tonumber(j[5]) or now + 1) <= now then
    local m = meter(queue, j[7])
    count('expired_total')
    add(m, 'expired')
    return cancelled(id, queue, 'scheduled', j[6], m, j[8])
  end
  redis.call('HSET', job, 'state', 'pending', 'updated_at', NOW, 'ready_at', NOW)
  push('RPUSH', id, queue, j[3], j[4])
  shift(queue, 'scheduled', 'pending')
  count('promoted_total')
  if j[4] then alone = alone + 1 end
end

local due = redis.call('ZRANGEBYSCORE', P .. 'scheduled', '-inf', NOW, 'LIMIT', 0, ARGV[4])
for _, id in ipairs(due) do promote(id) end
-- There is one token at most; a million by hand would wake upkeep once each. All that is there now
-- stands for jobs this call has seen: its answer says when the next is due.
if redis.call('LLEN', P .. 'wake') > 1 then redis.call('UNLINK', P .. 'wake') end
forget()
write_counts()
local first = redis.call('ZRANGE', P .. 'scheduled', 0, 0, 'WITHSCORES')
return {#due, alone, first[2] and stamp(tonumber(first[2]) - now) or ''}
