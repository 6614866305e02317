-- max_losses, lost problem (JSON), queue ttl ms, expired problem (JSON) → number of jobs whose lease expired. Also ends
-- jobs that have waited too long, and removes what is left of jobs whose record has expired.
even_when_full()
local t = now()
local lost = redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', t, 'LIMIT', 0, 100)
for _, id in ipairs(lost) do lose(id, tonumber(ARGV[1]), ARGV[2]) end
local too_old = int((t - tonumber(ARGV[3])) * 1000)
for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', queue_key(queue), '-inf', too_old, 'LIMIT', 0, 100)) do
    if not gone(queue, id) then
      dequeue(id)
      redis.call('HSET', job_key(id), 'error', problem_of(id, ARGV[4]))
      close(id, 'expired')
    end
  end
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', P .. 'expiring', '-inf', t, 'LIMIT', 0, 500)) do
  redis.call('ZREM', P .. 'expiring', member)
  forget(string.match(member, '^(%S+) (%S*) ?(%x*)$'))
end
return #lost
