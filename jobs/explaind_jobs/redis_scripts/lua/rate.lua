-- API key's id, requests a minute, burst, 1 (take one) or -1 (give one back)
-- → {'1', or '0' if none is left, requests left, ms until the limit is full again (for '0': until one is available)}
-- The generic cell rate algorithm: `tat` is when the bucket would be full again.
local per_minute, burst, taken = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local gcra = P .. 'rate:' .. ARGV[1]
local t, step = now(), 60000 / per_minute
local tat = math.max(tonumber(redis.call('GET', gcra) or t), t)
local wait = tat - t - step * (burst - taken)
if taken > 0 and wait > 0 then
  count('rate_limited')
  return { '0', '0', int(math.ceil(wait)) }
end
tat = math.max(t, tat + taken * step)
redis.call('SET', gcra, string.format('%.3f', tat), 'PX', math.ceil(tat - t) + 1000)
return { '1', int(math.floor(burst - (tat - t) / step + 0.0001)), int(math.ceil(tat - t)) }
