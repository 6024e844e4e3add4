-- Histograms of a meter. An observation adds to one bucket, which is named by its upper bound, and
-- to the sum of seconds; whoever reads adds the buckets up. ferryman.store.meters has the same
-- bounds.
local tonumber, INF = tonumber, 1 / 0
local RUN = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, INF}
local WAIT = {.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 1800, 3600, INF}

local function observe(m, kind, bounds, seconds)
  local h = m[kind]
  if not h then
    h = {sum = 0, bounds = bounds}
    m[kind] = h
  end
  local nth = h.nth or 1  -- where the last one lay: jobs of one call mostly took about as long
  while seconds > bounds[nth] do nth = nth + 1 end
  while nth > 1 and seconds <= bounds[nth - 1] do nth = nth - 1 end
  h.nth = nth
  h[nth] = (h[nth] or 0) + 1
  h.sum = h.sum + seconds
end

-- Seconds since a time in a record: 0 for none, for what is no number and for a time to come (the
-- clock was set back), never so much that a sum could no longer be added to.
local function since(time)
  local seconds = now - (tonumber(time) or now)
  if seconds > 0 then return seconds < 1e8 and seconds or 1e8 end
  return 0
end

-- A run is over, `outcome` says how. Its worker tells the time only of those that end well.
local function ran(m, outcome, job)
  local started = redis.call('HGET', job, 'started_at')
  if started then observe(m, 'duration:' .. outcome, RUN, since(started)) end
end

-- A job has come to its end, as `event` says.
local function ended(m, event, created_at)
  m[event] = (m[event] or 0) + 1
  observe(m, 'total', WAIT, since(created_at))
end
