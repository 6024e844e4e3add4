-- A foreign or corrupt element is set aside with the reason, never run and never lost silently.
local function quarantine(element, from, reason)
  redis.call('LPUSH', P .. 'quarantine', cjson.encode({
    at = NOW, from = from, reason = reason, element = string.sub(element, 1, 256),
  }))
  redis.call('LTRIM', P .. 'quarantine', 0, 9999)
  count('quarantined_total')
end
