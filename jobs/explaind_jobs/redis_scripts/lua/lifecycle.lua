-- Prepended to every script: how jobs end, wait again, are lost and are held.

-- Ends a job: its record, its result and its idempotency key expire together.
local function close(id, state)
  local t = now()
  local f = redis.call('HMGET', job_key(id), 'state', 'started', 'charged', 'key', 'method', 'model', 'queue', 'ttl',
    'idem', 'webhook', 'token', 'origin')
  local h = { state = f[1], started = f[2], charged = f[3], key = f[4], method = f[5], model = f[6], queue = f[7],
    ending = state }
  local ttl_s = tonumber(f[8])
  local expires = t + ttl_s * 1000
  settle(id, h, t)
  leave_worker(id)
  if f[11] then redis.call('DEL', claimed_key(f[11])) end
  redis.call('ZADD', P .. 'expiring', expires, expiring_member(id, h.key, shared_digest(id)))
  count('finished|' .. h.method .. '|' .. h.model .. '|' .. state)
  event(id, 'end', cjson.encode({ state = state }))
  redis.call('HSET', job_key(id), 'state', state, 'finished', int(t), 'expires', int(expires), 'last', last_of_stream(id))
  shrink_events(id, ttl_s)
  shrink_record(id)
  redis.call('EXPIRE', job_key(id), ttl_s)
  if f[9] then redis.call('EXPIRE', idem_key(f[9]), ttl_s) end
  if f[12] and f[12] ~= '' then keep_for(origin_key(f[12]), ttl_s) end
  if f[10] then
    for _, wanted in ipairs(cjson.decode(f[10]).events) do
      if wanted == state then redis.call('ZADD', P .. 'outbox', t, id) end
    end
  end
end

-- Returns an unharmed job to the queue: the next claim is a new attempt, no loss is counted.
local function requeue(id)
  leave_worker(id)
  redis.call('HSET', job_key(id), 'state', 'queued')
  enqueue(id)
  state_event(id, 'queued', redis.call('HGET', job_key(id), 'attempt'))
end

-- Completes a problem written in advance with the job's path and its request's id.
local function problem_of(id, problem)
  local rid = redis.call('HGET', job_key(id), 'rid')
  local function filled(name, value)
    local written = '"' .. name .. '":' .. cjson.encode(value)
    problem = string.gsub(problem, '"' .. name .. '":null', function() return written end, 1)
  end
  filled('instance', '/jobs/' .. id)
  if rid then filled('request_id', rid) end
  return problem
end

-- Handles the loss of a worker that ran the job. True if the job waits again.
local function lose(id, max_losses, problem)
  local state = redis.call('HGET', job_key(id), 'state')
  if not active(state) then
    redis.call('ZREM', P .. 'leases', id)
    return false
  end
  count('lost|' .. redis.call('HGET', job_key(id), 'method'))
  if state == 'cancelling' then
    close(id, 'cancelled')
    return false
  end
  if redis.call('HINCRBY', job_key(id), 'losses', 1) >= max_losses then
    redis.call('HSET', job_key(id), 'error', problem_of(id, problem))
    close(id, 'failed')
    return false
  end
  requeue(id)
  return true
end

-- Lease status of a job's attempt: held, cancel or lost. A job requeued after its lease expired, but not claimed
-- again yet, is taken back by the worker that still computes it.
local function standing(id, attempt, lease_ms)
  local h = redis.call('HMGET', job_key(id), 'state', 'attempt', 'owner', 'key')
  if h[2] ~= attempt then return 'lost' end
  if h[1] == 'queued' and h[3] and h[3] ~= '' then
    dequeue(id)
    redis.call('HSET', job_key(id), 'state', 'running')
    redis.call('HINCRBY', job_key(id), 'losses', -1)
    redis.call('SADD', running_key(h[4]), id)
    state_event(id, 'running', attempt)
  elseif not active(h[1]) then
    return 'lost'
  end
  redis.call('ZADD', P .. 'leases', now() + lease_ms, id)
  return h[1] == 'cancelling' and 'cancel' or 'held'
end
