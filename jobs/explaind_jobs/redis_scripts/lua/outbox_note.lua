-- id, attempt, status (JSON, '' for none), ms until the next attempt (-1: none) → noted, stale or gone
-- stale: the message is settled, or was taken by another attempt meanwhile. A final status is recorded even so while
-- the message is in the outbox: a delivered message need not be sent again.
local id, attempt, status, delay_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('EXISTS', job_key(id)) == 0 then
  redis.call('ZREM', P .. 'outbox', id)
  return 'gone'
end
if not redis.call('ZSCORE', P .. 'outbox', id) then return 'stale' end
if delay_ms >= 0 then
  if redis.call('HGET', job_key(id), 'webhook_attempts') ~= attempt then return 'stale' end
  redis.call('ZADD', P .. 'outbox', now() + delay_ms, id)
else
  redis.call('ZREM', P .. 'outbox', id)
end
if status ~= '' then redis.call('HSET', job_key(id), 'webhook_status', status) end
return 'noted'
