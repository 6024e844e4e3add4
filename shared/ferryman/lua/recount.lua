#!lua flags=allow-oom
-- recount: counters are set to what lies in the places, then the sums to the counters of queues.
-- KEYS[1] prefix
-- ARGV head, then number of guards, (event, n)..., then per queue: its name, entries in lists that
--   belong to no live job (`dropped`). At most 100 queues.
-- Returns 1, or 0 when a guard differs: an event that changes `dropped` came in between, nothing
--   was changed, count again. What is too much to look at in one script stays as it is; what cannot
--   be counted, finished jobs over a lifetime, is taken from the queues' own counters.
-- @include head
-- @include census
local STATES = {'pending', 'scheduled', 'blocked', 'running', 'completed', 'failed', 'cancelled'}
local guards, queues, dropped = tonumber(ARGV[4]), {}, {}

local function number(key, field) return tonumber(redis.call('HGET', P .. key, field) or 0) or 0 end

local function set(key, field, n)
  if number(key, field) ~= n then redis.call('HSET', P .. key, field, n) end
end

for i = 5, 4 + 2 * guards, 2 do
  if number('stats', ARGV[i]) ~= tonumber(ARGV[i + 1]) then return 0 end
end
for i = 5 + 2 * guards, #ARGV, 2 do
  queues[#queues + 1] = ARGV[i]
  dropped[ARGV[i]] = tonumber(ARGV[i + 1])
end
local entries, begun = census(queues)
local due = scheduled()
for _, queue in ipairs(queues) do
  local key = 'queue:' .. queue
  if entries then
    set(key, 'running', begun[queue])
    set(key, 'pending', entries[queue] - begun[queue] - dropped[queue])
  end
  if due then set(key, 'scheduled', due[queue] or 0) end
end

local known, total = redis.call('SMEMBERS', P .. 'queues'), 0
if #known > 1000 then return 1 end
for _, state in ipairs(STATES) do
  local sum = 0
  for _, queue in ipairs(known) do sum = sum + number('queue:' .. queue, state) end
  set('stats', state, sum)
  total = total + sum
end
set('stats', 'created_total', total)
set('stats', 'failed_total', number('stats', 'retried_total') + number('stats', 'dlq_total'))
return 1
