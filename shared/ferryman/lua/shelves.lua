#!lua flags=no-writes,allow-oom
-- shelves: where the lists of queues are, and whether they are paused, at one moment.
-- KEYS[1] prefix
-- ARGV head, then queue... (at most 100)
-- Returns per queue {paused (1|0), list that is there, ...}.
-- Not a MULTI: a full Redis queues no commands, not even those that only read.
-- @include head
local answer = {}
for i = 4, #ARGV do
  local row = {redis.call('HEXISTS', P .. 'queue:' .. ARGV[i], 'paused')}
  for _, place in ipairs({'pending:', 'held:'}) do
    for _, level in ipairs({'high', 'normal', 'low', 'alone'}) do
      local name = place .. ARGV[i] .. ':' .. level
      if redis.call('EXISTS', P .. name) == 1 then row[#row + 1] = name end
    end
  end
  answer[#answer + 1] = row
end
return answer
