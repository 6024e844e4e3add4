#!lua flags=allow-oom
-- resume: the lists set aside by pause come back; what was pushed meanwhile is in them.
-- KEYS[1] prefix
-- ARGV head, then queue
-- Returns 1, or 0 when it was not paused.
-- @include head
-- @include set_aside
if redis.call('HDEL', P .. 'queue:' .. ARGV[4], 'paused') == 0 then return 0 end
set_aside(ARGV[4], 'held:', 'pending:')
return 1
