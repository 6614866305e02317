-- max_losses, ttl_s, problem (JSON) → number of jobs whose lease ran out. Also forgets the index entries of jobs
-- that have expired, so that the index does not grow.
local t = now()
local lost = redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', t, 'LIMIT', 0, 100)
for _, id in ipairs(lost) do lose(id, tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]) end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'expiring', '-inf', t, 'LIMIT', 0, 100)) do
  redis.call('ZREM', P .. 'expiring', id)
  redis.call('ZREM', P .. 'index', id)
  unrefer(id)
end
return #lost
