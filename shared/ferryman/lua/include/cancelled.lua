-- A job of `queue` ends as cancelled. While its id still lies in a list (`dropped`) the hash has
-- to outlive it, so the retention starts when a claim takes the id away.
local function cancelled(id, queue, from, dropped)
  local job = P .. 'job:' .. id
  redis.call('HSET', job, 'state', 'cancelled', 'completed_at', NOW)
  redis.call('HDEL', job, 'cancel_requested')
  shift(queue, from, 'cancelled')
  if not dropped then
    redis.call('EXPIRE', job, RETENTION)
    redis.call('LPUSH', P .. 'finished', id)
  end
end
