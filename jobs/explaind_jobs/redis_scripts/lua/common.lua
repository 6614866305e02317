-- Prepended to every script. KEYS[1] is the key prefix; times are milliseconds since 1970 by the server's clock,
-- positions in a queue are microseconds.
local P = KEYS[1]

local function micros()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
local function now() return math.floor(micros() / 1000) end
local function int(n) return string.format('%.0f', n) end

local function job_key(id) return P .. 'job:' .. id end
local function events_key(id) return P .. 'events:' .. id end
local function idem_key(key) return P .. 'idem:' .. key end
local function claimed_key(token) return P .. 'claimed:' .. token end

local function terminal(state)
  return state == 'succeeded' or state == 'failed' or state == 'cancelled' or state == 'expired'
end
local function active(state) return state == 'running' or state == 'cancelling' end

-- Lets a script that has already written continue when Redis has reached its maxmemory. Scripts that end or hold jobs
-- call this first: they are what frees memory.
local function even_when_full() redis.call('DEL', P .. 'nothing') end

-- Extends the expiry of data shared by several jobs to that of the last one.
local function keep_for(key, seconds)
  if redis.call('PTTL', key) < seconds * 1000 then redis.call('EXPIRE', key, seconds) end
end

-- Whether `caller` (an API key's id, '' where no key is required, '*' for all) may see a job.
local function visible(id, caller)
  local key = redis.call('HGET', job_key(id), 'key')
  return key and (caller == '*' or key == caller)
end

-- Counters of /metrics, incremented where events happen: a name and its labels, separated by bars.
local function count(name, by) redis.call('HINCRBYFLOAT', P .. 'stats', name, by or 1) end

-- Appends an event to a job's stream.
local EVENTS_KEPT = 1000
local function event(id, name, data)
  redis.call('XADD', events_key(id), 'MAXLEN', '~', EVENTS_KEPT, '*', 'event', name, 'data', data)
end
local function state_event(id, state, attempt)
  event(id, 'state', cjson.encode({ state = state, attempt = tonumber(attempt or 0) }))
end

-- After the end, events are kept for a minute, for clients listening or reconnecting. A stream allocates 4 KB with
-- its first entry, a copy only what it contains.
local EVENTS_AFTER_END_S = 60
local function shrink_events(id, ttl_s)
  local key, whole = events_key(id), events_key(id) .. ':whole'
  redis.call('RENAME', key, whole)
  redis.call('COPY', whole, key)
  redis.call('DEL', whole)
  redis.call('EXPIRE', key, math.min(ttl_s, EVENTS_AFTER_END_S))
end
local function last_of_stream(id)
  local last = redis.call('XREVRANGE', events_key(id), '+', '-', 'COUNT', 1)
  return last[1] and last[1][1]
end

-- Waiting jobs. `queue` has all jobs of a class by creation time; `line` those of one API key, `lane` those of one key
-- and model, both by creation time minus the head start of their priority. A job whose worker died waits among the
-- suspects instead of in a lane.
local function queue_key(queue) return P .. 'queue:' .. queue end
local function line_key(queue, key) return P .. 'line:' .. queue .. ':' .. key end
local function lane_key(queue, key, model) return P .. 'lane:' .. queue .. ':' .. key .. ':' .. model end
local function lanes_key(queue, key) return P .. 'lanes:' .. queue .. ':' .. key end
local function keys_key(queue) return P .. 'keys:' .. queue end
local function suspects_key(queue) return P .. 'suspects:' .. queue end
local function running_key(key) return P .. 'running:' .. key end
local function waiting_in(queue) return redis.call('ZCARD', queue_key(queue)) end

-- Bytes of waiting requests: `waiting` has them by job, `waiting_bytes` by API key and, under '*', in total.
local function waiting_bytes(key) return tonumber(redis.call('HGET', P .. 'waiting_bytes', key) or 0) end
local function count_waiting_bytes(key, by)
  if redis.call('HINCRBY', P .. 'waiting_bytes', key, by) <= 0 then redis.call('HDEL', P .. 'waiting_bytes', key) end
end
local function bytes_of(id)
  return redis.call('HSTRLEN', job_key(id), 'request') + redis.call('HSTRLEN', job_key(id), 'metadata')
end

local function total_queued()
  local n = 0
  for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do n = n + waiting_in(queue) end
  return n
end

-- Service of each key, in seconds: the key with the least is next. One that returns after a pause starts at the
-- current service ('#'), so that a pause accumulates no credit.
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
  local bytes = bytes_of(id)
  redis.call('HSET', P .. 'waiting', id, bytes)
  count_waiting_bytes('*', bytes)
  count_waiting_bytes(key, bytes)
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
  local bytes = tonumber(redis.call('HGET', P .. 'waiting', id) or 0)
  if redis.call('ZREM', queue_key(queue), id) == 1 then count_waiting_bytes('*', -bytes) end
  redis.call('ZREM', suspects_key(queue), id)
  if redis.call('ZREM', line_key(queue, key), id) == 1 then
    count_waiting_bytes(key, -bytes)
    redis.call('HDEL', P .. 'waiting', id)
  end
  redis.call('ZREM', lane_key(queue, key, model), id)
  if redis.call('EXISTS', lane_key(queue, key, model)) == 0 then redis.call('SREM', lanes_key(queue, key), model) end
  if redis.call('EXISTS', line_key(queue, key)) == 0 then redis.call('SREM', keys_key(queue), key) end
end
local function dequeue(id)
  local h = redis.call('HMGET', job_key(id), 'queue', 'key', 'model')
  dequeue_from(h[1], h[2], h[3], id)
end
-- True if a waiting job has no record any more (keys deleted by hand): it is then removed from the queue.
local function gone(queue, id)
  if redis.call('EXISTS', job_key(id)) == 1 then return false end
  for _, key in ipairs(redis.call('SMEMBERS', keys_key(queue))) do
    for _, model in ipairs(redis.call('SMEMBERS', lanes_key(queue, key))) do dequeue_from(queue, key, model, id) end
    dequeue_from(queue, key, '', id)
  end
  return true
end

-- Expected seconds of a job of this method and model, from past jobs; nil before the first.
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

local LEAST_TURN_S = 0.02 -- a job that fails at once counts as a turn too

-- The service of a job is known at its end; corrects the estimate charged at its start.
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
