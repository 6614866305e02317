-- limit, lease ms → for each message now due: {attempt, webhook, key, the job's view}
-- A message taken is due again when its lease ends: its taker records the outcome before, or is dead.
local t = now()
local taken = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'outbox', '-inf', t, 'LIMIT', 0, tonumber(ARGV[1]))) do
  local h = redis.call('HMGET', job_key(id), 'state', 'webhook', 'key')
  if h[1] and h[2] and terminal(h[1]) then
    redis.call('ZADD', P .. 'outbox', t + tonumber(ARGV[2]), id)
    taken[#taken + 1] = { redis.call('HINCRBY', job_key(id), 'webhook_attempts', 1), h[2], h[3] or '', view(id) }
  else -- deleted or expired meanwhile
    redis.call('ZREM', P .. 'outbox', id)
  end
end
return taken
