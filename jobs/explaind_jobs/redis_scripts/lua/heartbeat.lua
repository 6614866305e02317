-- worker, worker state (JSON), worker expiry ms, lease_ms, (id, attempt)… → {id, standing, …}
even_when_full()
local t = now()
local state = cjson.decode(ARGV[2])
local before = redis.call('GET', P .. 'worker:' .. ARGV[1])
-- A worker that starts has not looked at any files: what is known of them may be of old ones. Others tell it again.
if not before or cjson.decode(before).instance ~= state.instance then redis.call('DEL', P .. 'revisions') end
redis.call('SET', P .. 'worker:' .. ARGV[1], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', P .. 'workers', t, ARGV[1])
for model, revision in pairs(state.revisions) do
  redis.call('HSET', P .. 'revisions', model, revision)
end
local out = {}
for i = 5, #ARGV, 2 do
  out[#out + 1] = ARGV[i]
  out[#out + 1] = standing(ARGV[i], ARGV[i + 1], tonumber(ARGV[4]))
end
return out
