-- Shared by every script. KEYS[1] is the key prefix; times are milliseconds since 1970 by the server's clock.
local P = KEYS[1]

local function micros()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
local function now() return math.floor(micros() / 1000) end
local function int(n) return string.format('%.0f', n) end

local function job_key(id) return P .. 'job:' .. id end
local function result_key(id) return P .. 'result:' .. id end
local function queue_key(queue) return P .. 'queue:' .. queue end
local function idem_key(key) return P .. 'idem:' .. key end

local function terminal(state)
  return state == 'succeeded' or state == 'failed' or state == 'cancelled' or state == 'expired'
end
local function active(state) return state == 'running' or state == 'cancelling' end

local function total_queued()
  local n = 0
  for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
    n = n + redis.call('ZCARD', queue_key(queue))
  end
  return n
end

-- Back to the queue at the place it had: `place` is the microsecond it was created.
local function enqueue(id)
  local h = redis.call('HMGET', job_key(id), 'queue', 'place')
  redis.call('SADD', P .. 'queues', h[1])
  redis.call('ZADD', queue_key(h[1]), h[2], id)
end
local function dequeue(id)
  redis.call('ZREM', queue_key(redis.call('HGET', job_key(id), 'queue')), id)
end

-- The end of a job: record, result and idempotency key expire together.
local function close(id, state, ttl_s)
  local t = now()
  local expires = t + ttl_s * 1000
  redis.call('HSET', job_key(id), 'state', state, 'finished', int(t), 'expires', int(expires))
  redis.call('ZREM', P .. 'leases', id)
  redis.call('ZADD', P .. 'expiring', expires, id)
  redis.call('EXPIRE', job_key(id), ttl_s)
  local key = redis.call('HGET', job_key(id), 'idem')
  if key then redis.call('EXPIRE', idem_key(key), ttl_s) end
end

-- A worker gave its job back unharmed: the next claim is a new attempt, no loss is counted.
local function requeue(id)
  redis.call('ZREM', P .. 'leases', id)
  redis.call('HSET', job_key(id), 'state', 'queued')
  enqueue(id)
end

-- A worker was lost while it ran the job. True when the job waits again.
local function lose(id, max_losses, ttl_s, problem)
  local state = redis.call('HGET', job_key(id), 'state')
  if not active(state) then
    redis.call('ZREM', P .. 'leases', id)
    return false
  end
  if state == 'cancelling' then
    close(id, 'cancelled', ttl_s)
    return false
  end
  if redis.call('HINCRBY', job_key(id), 'losses', 1) >= max_losses then
    redis.call('HSET', job_key(id), 'error', problem)
    close(id, 'failed', ttl_s)
    return false
  end
  requeue(id)
  return true
end

-- What an attempt of a job is: held, cancel or lost. A job that went back to the queue because its lease ran out,
-- but that nobody else has claimed yet, is taken up again by the worker that still computes it.
local function standing(id, attempt, lease_ms)
  local h = redis.call('HMGET', job_key(id), 'state', 'attempt', 'owner')
  if h[2] ~= attempt then return 'lost' end
  if h[1] == 'queued' and h[3] and h[3] ~= '' then
    dequeue(id)
    redis.call('HSET', job_key(id), 'state', 'running')
    redis.call('HINCRBY', job_key(id), 'losses', -1)
  elseif not active(h[1]) then
    return 'lost'
  end
  redis.call('ZADD', P .. 'leases', now() + lease_ms, id)
  return h[1] == 'cancelling' and 'cancel' or 'held'
end

-- A job as callers see it; the order is that of FIELDS in calls.py. nil when there is none.
local function view(id)
  local h = redis.call('HMGET', job_key(id), 'state', 'method', 'model', 'created', 'started', 'finished', 'expires',
    'attempt', 'progress', 'error', 'provenance', 'timing', 'metadata', 'queue')
  if not h[1] then return nil end
  local position = ''
  if h[1] == 'queued' then position = redis.call('ZRANK', queue_key(h[14]), id) or '' end
  local row = { id }
  for i = 1, 13 do row[i + 1] = h[i] or '' end
  if h[1] == 'queued' then row[6], row[10] = '', '' end -- started and progress of an attempt that is over
  row[15] = tostring(position)
  return row
end
