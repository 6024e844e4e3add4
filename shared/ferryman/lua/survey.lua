#!lua flags=no-writes,allow-oom
-- survey: fields of jobs for an audit, each job as it stands at one moment.
-- KEYS[1] prefix
-- ARGV head, then number of fields, field..., id...
-- Returns per id {seconds to live (-1: none, -2: no such job), value...}, or {-3} when the key
--   holds something else than a hash. Ask for at most 200 ids a call: 1 ms.
-- @include head
local job, names, answer = P .. 'job:', {}, {}
for i = 5, 4 + tonumber(ARGV[4]) do names[#names + 1] = ARGV[i] end
for i = 5 + #names, #ARGV do
  local row = redis.pcall('HMGET', job .. ARGV[i], unpack(names))
  if row.err then
    row = {-3}
  else
    table.insert(row, 1, redis.call('TTL', job .. ARGV[i]))
  end
  answer[#answer + 1] = row
end
return answer
