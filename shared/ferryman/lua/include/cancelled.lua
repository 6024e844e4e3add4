-- A job of `queue` ends as cancelled; `m` is its meter. While its id still lies in a list
-- (`dropped`) the hash has to outlive it, so the retention starts when a claim takes the id away.
local function cancelled(id, queue, from, dropped, m, created_at)
  local job = P .. 'job:' .. id
  redis.call('HSET', job, 'state', 'cancelled', 'completed_at', NOW)
  redis.call('HDEL', job, 'cancel_requested')
  shift(queue, from, 'cancelled')
  ended(m, 'cancelled', created_at)
  if not dropped then
    redis.call('EXPIRE', job, RETENTION)
    redis.call('LPUSH', P .. 'finished', id)
  end
end
