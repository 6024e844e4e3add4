#!lua flags=allow-oom
-- progress: what a running attempt says of itself.
-- KEYS[1] prefix
-- ARGV head, then id, attempt, fraction, note
-- Returns 1, or 0 when the attempt is no longer the caller's: nothing changes.
-- @include head
local job = P .. 'job:' .. ARGV[4]
local j = redis.call('HMGET', job, 'state', 'worker', 'attempt')
if j[1] ~= 'running' or j[2] ~= W or j[3] ~= ARGV[5] then return 0 end
redis.call('HSET', job, 'progress', ARGV[6], 'progress_note', ARGV[7], 'updated_at', NOW)
return 1
