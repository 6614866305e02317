-- worker, lease_ms, queue… → {id, attempt, method, model, request, queued ms} or {}
local worker, lease_ms = ARGV[1], tonumber(ARGV[2])

-- The one place that chooses among the waiting jobs: the oldest at the head of the given queues.
local function choose()
  local best, best_place
  for i = 3, #ARGV do
    local head = redis.call('ZRANGE', queue_key(ARGV[i]), 0, 0, 'WITHSCORES')
    local place = tonumber(head[2])
    if place and (not best_place or place < best_place) then best, best_place = { head[1], ARGV[i] }, place end
  end
  return best
end

local chosen = choose()
while chosen do
  local id = chosen[1]
  redis.call('ZREM', queue_key(chosen[2]), id)
  local h = redis.call('HMGET', job_key(id), 'state', 'method', 'model', 'request', 'created')
  if h[1] == 'queued' then
    local t = now()
    local attempt = redis.call('HINCRBY', job_key(id), 'attempt', 1)
    redis.call('HSET', job_key(id), 'state', 'running', 'owner', worker, 'started', int(t))
    redis.call('HDEL', job_key(id), 'progress')
    redis.call('ZADD', P .. 'leases', t + lease_ms, id)
    return { id, attempt, h[2], h[3], h[4], int(t - tonumber(h[5])) }
  end
  chosen = choose()
end
return {}
