-- Shared by every script. KEYS[1] is the key prefix; times are milliseconds since 1970 by the server's clock, places in
-- a queue microseconds.
local P = KEYS[1]

local function micros()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
local function now() return math.floor(micros() / 1000) end
local function int(n) return string.format('%.0f', n) end

local function job_key(id) return P .. 'job:' .. id end
local function result_key(id) return P .. 'result:' .. id end
local function events_key(id) return P .. 'events:' .. id end
local function idem_key(key) return P .. 'idem:' .. key end

local function terminal(state)
  return state == 'succeeded' or state == 'failed' or state == 'cancelled' or state == 'expired'
end
local function active(state) return state == 'running' or state == 'cancelling' end

-- Whether `caller` (an API key's id, '' where nobody asks for keys, '*' who may see all) may know of a job.
local function visible(id, caller)
  local key = redis.call('HGET', job_key(id), 'key')
  return key and (caller == '*' or key == caller)
end

-- What /metrics shows, counted where it happens: a name and its labels, with bars between.
local function count(name, by) redis.call('HINCRBYFLOAT', P .. 'stats', name, by or 1) end

-- What those who follow a job hear.
local EVENTS_KEPT = 1000
local function event(id, name, data)
  redis.call('XADD', events_key(id), 'MAXLEN', '~', EVENTS_KEPT, '*', 'event', name, 'data', data)
end
local function last_event(id)
  local last = redis.call('XREVRANGE', events_key(id), '+', '-', 'COUNT', 1)
  return last[1] and last[1][1] or '0-0'
end
local function state_event(id, state, attempt)
  event(id, 'state', cjson.encode({ state = state, attempt = tonumber(attempt or 0) }))
end

-- Waiting jobs. `queue` holds all of a class by the time they were created; `line` those of one API key, `lane` those of
-- one key and model, both by that time less the head start of their priority. A job whose worker died waits among the
-- suspects instead of in a lane.
local function queue_key(queue) return P .. 'queue:' .. queue end
local function line_key(queue, key) return P .. 'line:' .. queue .. ':' .. key end
local function lane_key(queue, key, model) return P .. 'lane:' .. queue .. ':' .. key .. ':' .. model end
local function lanes_key(queue, key) return P .. 'lanes:' .. queue .. ':' .. key end
local function keys_key(queue) return P .. 'keys:' .. queue end
local function suspects_key(queue) return P .. 'suspects:' .. queue end
local function running_key(key) return P .. 'running:' .. key end
local function waiting_in(queue) return redis.call('ZCARD', queue_key(queue)) end

local function total_queued()
  local n = 0
  for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do n = n + waiting_in(queue) end
  return n
end

-- How much service each key has had, in seconds: the key with the least is next. One that comes back after a rest
-- starts where the service is now ('#'), so that a rest saves nothing up.
local function turn_of(key) return tonumber(redis.call('HGET', P .. 'turns', key) or 0) end
local function charge(key, seconds)
  redis.call('HINCRBYFLOAT', P .. 'turns', key, string.format('%.3f', seconds))
end
local function join_turns(key)
  local here = turn_of('#')
  if turn_of(key) < here then redis.call('HSET', P .. 'turns', key, here) end
end

local function enqueue(id)
  local h = redis.call('HMGET', job_key(id), 'queue', 'key', 'model', 'place', 'ahead', 'losses')
  local queue, key, model, place, ahead = h[1], h[2], h[3], h[4], h[5]
  redis.call('SADD', P .. 'queues', queue)
  redis.call('ZADD', queue_key(queue), place, id)
  redis.call('ZADD', line_key(queue, key), ahead, id)
  if redis.call('SADD', keys_key(queue), key) == 1 then join_turns(key) end
  if tonumber(h[6]) > 0 then
    redis.call('ZADD', suspects_key(queue), now(), id)
  else
    redis.call('SADD', lanes_key(queue, key), model)
    redis.call('ZADD', lane_key(queue, key, model), ahead, id)
  end
end
local function dequeue_from(queue, key, model, id)
  redis.call('ZREM', queue_key(queue), id)
  redis.call('ZREM', suspects_key(queue), id)
  redis.call('ZREM', line_key(queue, key), id)
  redis.call('ZREM', lane_key(queue, key, model), id)
  if redis.call('EXISTS', lane_key(queue, key, model)) == 0 then redis.call('SREM', lanes_key(queue, key), model) end
  if redis.call('EXISTS', line_key(queue, key)) == 0 then redis.call('SREM', keys_key(queue), key) end
end
local function dequeue(id)
  local h = redis.call('HMGET', job_key(id), 'queue', 'key', 'model')
  dequeue_from(h[1], h[2], h[3], id)
end
-- True when a waiting job has no record any more (somebody deleted keys by hand): then it waits no longer.
local function gone(queue, id)
  if redis.call('EXISTS', job_key(id)) == 1 then return false end
  for _, key in ipairs(redis.call('SMEMBERS', keys_key(queue))) do
    for _, model in ipairs(redis.call('SMEMBERS', lanes_key(queue, key))) do dequeue_from(queue, key, model, id) end
    dequeue_from(queue, key, '', id)
  end
  return true
end

-- How many seconds a job of this method and model takes, as far as seen; nil before the first.
local function pace_of(what) return tonumber(redis.call('HGET', P .. 'pace', what) or nil) end
local function learn_pace(what, seconds)
  local known = pace_of(what)
  redis.call('HSET', P .. 'pace', what, string.format('%.4f', known and known * 0.8 + seconds * 0.2 or seconds))
end

local BUCKETS = { 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000 }
local function observe(name, labels, seconds)
  local le = '+Inf'
  for _, bound in ipairs(BUCKETS) do
    if seconds <= bound then le = tostring(bound) break end
  end
  count(name .. '_bucket|' .. labels .. '|' .. le)
  count(name .. '_sum|' .. labels, string.format('%.4f', seconds))
end

local function begin(id, worker, t)
  local key = redis.call('HGET', job_key(id), 'key')
  redis.call('HSET', job_key(id), 'state', 'running', 'owner', worker, 'started', int(t))
  redis.call('HDEL', job_key(id), 'progress')
  redis.call('SADD', running_key(key), id)
end
local function leave_worker(id)
  redis.call('ZREM', P .. 'leases', id)
  redis.call('SREM', running_key(redis.call('HGET', job_key(id), 'key')), id)
end

local LEAST_TURN_S = 0.02 -- a job that fails at once is a turn too

-- The service that a job has had is known at its end; what was charged at its start is made right.
local function settle(id, h, t)
  if not active(h.state) or not h.started then return end
  local seconds = math.max(0, (t - tonumber(h.started)) / 1000)
  charge(h.key, math.max(LEAST_TURN_S, seconds) - tonumber(h.charged or 0))
  observe('job_seconds', h.method, seconds)
  if h.ending == 'succeeded' then
    learn_pace(h.method .. ' ' .. h.model, seconds)
    learn_pace(h.queue, seconds)
  end
end

-- The end of a job: its record, its result, its events and its idempotency key expire together.
local function close(id, state)
  local t = now()
  local f = redis.call('HMGET', job_key(id), 'state', 'started', 'charged', 'key', 'method', 'model', 'queue', 'ttl',
    'idem', 'webhook')
  local h = { state = f[1], started = f[2], charged = f[3], key = f[4], method = f[5], model = f[6], queue = f[7],
    ending = state }
  local ttl_s = tonumber(f[8])
  local expires = t + ttl_s * 1000
  settle(id, h, t)
  leave_worker(id)
  redis.call('HSET', job_key(id), 'state', state, 'finished', int(t), 'expires', int(expires))
  redis.call('ZADD', P .. 'expiring', expires, id .. ' ' .. h.key)
  count('finished|' .. h.method .. '|' .. h.model .. '|' .. state)
  event(id, 'end', cjson.encode({ state = state }))
  redis.call('EXPIRE', job_key(id), ttl_s)
  redis.call('EXPIRE', events_key(id), ttl_s)
  if f[9] then redis.call('EXPIRE', idem_key(f[9]), ttl_s) end
  if f[10] then
    for _, wanted in ipairs(cjson.decode(f[10]).events) do
      if wanted == state then redis.call('ZADD', P .. 'outbox', t, id) end
    end
  end
end

-- A worker gave its job back unharmed: the next claim is a new attempt, no loss is counted.
local function requeue(id)
  leave_worker(id)
  redis.call('HSET', job_key(id), 'state', 'queued')
  enqueue(id)
  state_event(id, 'queued', redis.call('HGET', job_key(id), 'attempt'))
end

-- A problem that was written before its job was known, as that job's: with its path and with the id of its request.
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

-- A worker was lost while it ran the job. True when the job waits again.
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

-- What an attempt of a job is: held, cancel or lost. A job that went back to the queue because its lease ran out,
-- but that nobody else has claimed yet, is taken up again by the worker that still computes it.
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

-- How many jobs will start before this one: those ahead in its key's line, and for each other key its turns until then.
local function position(id, queue, key)
  local rank = redis.call('ZRANK', line_key(queue, key), id)
  if not rank then return nil end
  local ahead, own = rank, turn_of(key)
  for _, other in ipairs(redis.call('SMEMBERS', keys_key(queue))) do
    if other ~= key then
      local turns = rank + (turn_of(other) < own and 1 or 0)
      ahead = ahead + math.min(redis.call('ZCARD', line_key(queue, other)), turns)
    end
  end
  return ahead
end

-- Slots of the live workers of a class; looked up once a script.
local slots_known = {}
local function slots_of(queue)
  if slots_known[queue] then return slots_known[queue] end
  local slots = 0
  for _, name in ipairs(redis.call('ZRANGE', P .. 'workers', 0, -1)) do
    local state = redis.call('GET', P .. 'worker:' .. name)
    if state then
      local worker = cjson.decode(state)
      for _, served in ipairs(worker.queues) do
        if served == queue then slots = slots + worker.slots end
      end
    end
  end
  slots_known[queue] = slots
  return slots
end
local function starts_in(place, queue)
  local slots, pace = slots_of(queue), pace_of(queue)
  if slots == 0 or not pace then return '' end
  return string.format('%.1f', place * pace / slots)
end

-- A job as callers see it; the order is that of FIELDS in view.py. nil when there is none.
local SEEN = { 'state', 'method', 'model', 'created', 'started', 'finished', 'expires', 'attempt', 'progress', 'error',
  'provenance', 'timing', 'metadata', 'priority', 'cached', 'webhook_status', 'queue', 'key' }
local function view(id)
  local h = redis.call('HMGET', job_key(id), unpack(SEEN))
  if not h[1] then return nil end
  local row = { id }
  for i = 1, 16 do row[i + 1] = h[i] or '' end
  row[18], row[19] = '', ''
  if h[1] == 'queued' then
    row[6], row[10] = '', '' -- started and progress of an attempt that is over
    local place = position(id, h[17], h[18])
    if place then row[18], row[19] = tostring(place), starts_in(place, h[17]) end
  end
  return row
end
