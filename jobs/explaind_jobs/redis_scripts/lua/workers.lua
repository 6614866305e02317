-- expiry ms → the states (JSON) of the live workers, by name
redis.call('ZREMRANGEBYSCORE', P .. 'workers', '-inf', now() - tonumber(ARGV[1]))
local names = redis.call('ZRANGE', P .. 'workers', 0, -1)
table.sort(names)
local out = {}
for _, name in ipairs(names) do
  local state = redis.call('GET', P .. 'worker:' .. name)
  if state then out[#out + 1] = state end
end
return out
