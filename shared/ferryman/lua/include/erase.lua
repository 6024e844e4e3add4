-- Ends a record, and its idempotency key while that still leads here: a key lives for a day and may
-- have gone to another job since.
local function erase(id, key)
  redis.call('DEL', P .. 'job:' .. id)
  if key and redis.call('GET', P .. 'idem:' .. key) == id then
    redis.call('DEL', P .. 'idem:' .. key)
  end
end
