-- Every script starts with this: the prefix, the caller, Redis time.
local P, W = KEYS[1], ARGV[1]
local RETENTION, FINISHED_CAP = ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local function stamp(t) return string.format('%.6f', t) end
local NOW = stamp(now)
-- A count as stored; 0 for what is none: 'nan', '1e3', twenty digits.
local function whole(text)
  return text and #text < 16 and string.find(text, '^%d+$') and tonumber(text) or 0
end
-- @include sound
