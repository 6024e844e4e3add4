-- Moves the lists of a queue between `pending` and `held`. RENAME is O(1); only when somebody
-- pushed to the target by hand are its ids kept, behind the others.
local function set_aside(queue, from, to)
  for _, level in ipairs({'high', 'normal', 'low', 'alone'}) do
    local source = P .. from .. queue .. ':' .. level
    local target = P .. to .. queue .. ':' .. level
    if redis.call('EXISTS', source) == 1 and redis.call('RENAMENX', source, target) == 0 then
      while redis.call('LMOVE', source, target, 'RIGHT', 'LEFT') do end
    end
  end
end
