#!lua flags=no-writes,allow-oom
-- recent: ids of all jobs, newest first, with how many were created at the same moment.
-- KEYS[1] prefix
-- ARGV head, then place to begin before | '', ids at most
-- Returns {jobs created so far, ids skipped, id...}.
-- Not a MULTI: a full Redis queues no commands, not even those that only read.
-- @include head
local total = whole(redis.call('HGET', P .. 'stats', 'created_total'))
local first = ARGV[4] == '' and 0 or math.max(0, total - tonumber(ARGV[4]) + 1)
return {total, first,
  unpack(redis.call('LRANGE', P .. 'recent', first, first + tonumber(ARGV[5]) - 1))}
