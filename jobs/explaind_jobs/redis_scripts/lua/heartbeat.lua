-- worker, worker state (JSON), worker expiry ms, lease_ms, (id, attempt)… → {id, lease status, …}
even_when_full()
local t = now()
local state = cjson.decode(ARGV[2])
local before = redis.call('GET', P .. 'worker:' .. ARGV[1])
-- A starting worker has not read any files: known revisions may be of old files. The other workers report them again.
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
