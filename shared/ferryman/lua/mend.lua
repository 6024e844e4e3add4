#!lua flags=allow-oom
-- mend: a repair of one job, carried out only if everything seen of it still holds.
-- KEYS[1] prefix
-- ARGV head, then 1 to act (0: only look), id, number of evidence, evidence..., act...; each is
--   three words: what, where, value.
-- Returns 1 when the evidence holds (and the acts are done), else 0: nothing was changed.
-- An id that should lie nowhere is looked for in the first and last 10,000 of a longer list: one
-- that moves is put there, and one that stays was seen by whoever gathered the evidence. An id that
-- should lie in a list is searched for in all of it, 20 ms at 1,000,000.
-- @include head
-- @include count
-- @include push
-- @include schedule
-- @include quarantine
-- @include lies
local acting, id, n = ARGV[4] == '1', ARGV[5], tonumber(ARGV[6])
local job = P .. 'job:' .. id

local function field(name) return redis.call('HGET', job, name) or '' end

local holds = {
  exists = function() return tostring(redis.call('EXISTS', job)) end,
  hash = function() return redis.call('TYPE', job).ok == 'hash' and '1' or '0' end,
  field = function(name) return field(name) end,
  expires = function() return redis.call('TTL', job) >= 0 and '1' or '0' end,
  list = function(name, value) return tostring(entries(id, name, value == '0')) end,
  workers = function() return tostring(entries_of_workers(id)) end,
  scheduled = function() return redis.call('ZSCORE', P .. 'scheduled', id) and '1' or '0' end,
}

local acts = {
  remove = function(name, value) redis.call('LREM', P .. name, value, id) end,
  unschedule = function() redis.call('ZREM', P .. 'scheduled', id) end,
  push = function()
    local queue = redis.call('HGET', job, 'queue') or 'default'
    local j = redis.call('HMGET', job, 'priority', 'alone')
    push('LPUSH', id, queue, j[1], j[2])
  end,
  schedule = function() schedule(id, tonumber(field('run_at')) or now) end,
  bury = function() redis.call('LPUSH', P .. 'dlq', id) end,
  state = function(from, to)
    redis.call('HSET', job, 'state', to, 'updated_at', NOW)
    if from ~= '' then shift(redis.call('HGET', job, 'queue') or 'default', from, to) end
  end,
  field = function(name, value)
    if value == '' then redis.call('HDEL', job, name) else redis.call('HSET', job, name, value) end
  end,
  persist = function() redis.call('PERSIST', job) end,
  expire = function() redis.call('EXPIRE', job, RETENTION) end,
  finished = function() redis.call('LPUSH', P .. 'finished', id) end,
  erase = function() redis.call('DEL', job) end,
  quarantine = function(from, reason) quarantine(id, from, reason) end,
}

for i = 7, 6 + 3 * n, 3 do
  local look = assert(holds[ARGV[i]], 'no such evidence: ' .. ARGV[i])
  if look(ARGV[i + 1], ARGV[i + 2]) ~= ARGV[i + 2] then return 0 end
end
for i = 7 + 3 * n, #ARGV, 3 do
  assert(acts[ARGV[i]], 'no such act: ' .. ARGV[i])
end
if not acting then return 1 end
for i = 7 + 3 * n, #ARGV, 3 do acts[ARGV[i]](ARGV[i + 1], ARGV[i + 2]) end
write_counts()
return 1
