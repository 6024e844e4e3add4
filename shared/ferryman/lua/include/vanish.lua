-- One entry of a cancelled or deleted job has left its list; with the last one the record may end.
local function vanish(id, job, state)
  count('dropped_total')
  if redis.call('HINCRBY', job, 'dropped', -1) > 0 then return end
  redis.call('HDEL', job, 'dropped')
  if redis.call('HEXISTS', job, 'deleted') == 1 then
    redis.call('DEL', job)
  elseif state == 'cancelled' or state == 'completed' then
    redis.call('EXPIRE', job, RETENTION)
    redis.call('LPUSH', P .. 'finished', id)
  end
end
