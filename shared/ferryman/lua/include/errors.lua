-- The history of failed runs: one JSON object a line, oldest first, the last ten. Lua adds the
-- time to an object the worker wrote; it never decodes one.
local function with_error(errors, entry)
  local line = '{"failed_at":' .. NOW .. ',' .. string.sub(entry, 2)
  if not errors then return line end
  local text = errors .. '\n' .. line
  local _, breaks = string.gsub(text, '\n', '\n')
  for _ = 10, breaks do text = string.sub(text, string.find(text, '\n', 1, true) + 1) end
  return text
end
