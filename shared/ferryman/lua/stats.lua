#!lua flags=no-writes,allow-oom
-- stats: every counter at one moment.
-- KEYS[1] prefix
-- ARGV head
-- Returns what include/stats.lua says.
-- @include head
-- @include gate
-- @include stats
return counters()
