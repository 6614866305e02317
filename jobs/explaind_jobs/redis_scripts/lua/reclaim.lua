-- worker, max_losses, problem (JSON) → ids that wait again. For a worker whose predecessor of that name died.
even_when_full()
local out = {}
for _, id in ipairs(redis.call('ZRANGE', P .. 'leases', 0, -1)) do
  if redis.call('HGET', job_key(id), 'owner') == ARGV[1] then
    redis.call('HSET', job_key(id), 'owner', '')
    if lose(id, tonumber(ARGV[2]), ARGV[3]) then out[#out + 1] = id end
  end
end
return out
