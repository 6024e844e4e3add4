#!lua flags=allow-oom
-- pause: a queue starts nothing until it is resumed; its lists are set aside whole.
-- KEYS[1] prefix
-- ARGV head, then queue
-- Returns 1, or 0 when it was paused already. Races with claims: begin looks at the same flag.
-- @include head
-- @include set_aside
if redis.call('HSETNX', P .. 'queue:' .. ARGV[4], 'paused', NOW) == 0 then return 0 end
redis.call('SADD', P .. 'queues', ARGV[4])
set_aside(ARGV[4], 'pending:', 'held:')
return 1
