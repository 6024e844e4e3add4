#!lua flags=allow-oom
-- register: put a worker (one child incarnation) on the roll, with its first lease.
-- KEYS[1] prefix
-- ARGV head, then lease in seconds, queues (comma separated), field, value...
-- Returns 1, or 0 when this name was reaped: names are never used again.
-- @include head
if redis.call('ZSCORE', P .. 'reaped', W) then return 0 end
redis.call('ZADD', P .. 'workers', stamp(now + tonumber(ARGV[4])), W)
redis.call('HSET', P .. 'worker:' .. W, 'registered_at', NOW, 'beat', 1, unpack(ARGV, 6))
for queue in string.gmatch(ARGV[5], '[^,]+') do redis.call('SADD', P .. 'queues', queue) end
redis.call('HSETNX', P .. 'meta', 'schema', 1)
-- A name for these data, by which a worker knows that others lie behind its address.
redis.call('HSETNX', P .. 'meta', 'instance', redis.sha1hex(W .. NOW))
return 1
