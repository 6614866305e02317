-- random, method, model, queue, request, metadata, idempotency digest or '', body digest, API key's id or '', priority,
-- head start µs, ttl_s, timeout_s or '', webhook (JSON) or '', request id, trace or '', cache digest or '', max_queued,
-- max_queued of the key (0: none), maximum bytes of waiting requests in total and of a key
-- → {outcome, view or '', id of the latest event}; outcome: created, cached, existing, reused (the key belongs to
-- another body), full, full_key, full_bytes or full_key_bytes
local random, method, model, queue, request, metadata = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local idem, body, key, cache = ARGV[7], ARGV[8], ARGV[9], ARGV[17]
local max_queued, max_queued_key = tonumber(ARGV[18]), tonumber(ARGV[19])
local max_bytes, max_bytes_key = tonumber(ARGV[20]), tonumber(ARGV[21])

-- Ids sort by time: 11 characters of microseconds, 15 random ones.
local place = micros()
local function new_id()
  local digits, rest, stamp = '0123456789abcdefghijklmnopqrstuv', place, ''
  for _ = 1, 11 do
    local digit = rest % 32
    stamp = string.sub(digits, digit + 1, digit + 1) .. stamp
    rest = math.floor(rest / 32)
  end
  return 'job_' .. stamp .. random
end

local function store(id)
  redis.call('HSET', job_key(id), 'state', 'queued', 'method', method, 'model', model, 'queue', queue, 'key', key,
    'request', request, 'metadata', metadata, 'created', int(math.floor(place / 1000)), 'place', int(place),
    'priority', ARGV[10], 'ahead', int(place - tonumber(ARGV[11])), 'ttl', ARGV[12], 'attempt', 0, 'losses', 0)
  local optional = { timeout = ARGV[13], webhook = ARGV[14], rid = ARGV[15], trace = ARGV[16], idem = idem, cache = cache }
  for name, value in pairs(optional) do
    if value ~= '' then redis.call('HSET', job_key(id), name, value) end
  end
  if idem ~= '' then
    redis.call('DEL', idem_key(idem))
    redis.call('HSET', idem_key(idem), 'id', id, 'body', body)
  end
  redis.call('ZADD', P .. 'index', 0, id)
  if key ~= '' then redis.call('ZADD', P .. 'index:' .. key, 0, id) end
  count('submitted|' .. method .. '|' .. model)
end

-- Creates a job that has already ended, with the result of another.
local function answer_from(source, id)
  local seen = seen_at_end(source)
  redis.call('HSET', job_key(id), 'provenance', seen.provenance, 'timing', seen.timing, 'origin', seen.origin,
    'progress', seen.progress)
  share_result(source, id, ARGV[12])
  redis.call('HSET', job_key(id), 'cached', 1)
  close(id, 'succeeded')
end

-- The finished job with the cached result of this request: while its record exists and workers still hold the model
-- revision that it was computed with.
local function known_answer()
  if cache == '' then return nil end
  local source = redis.call('GET', P .. 'cache:' .. cache)
  if not source then return nil end
  if redis.call('HGET', job_key(source), 'state') ~= 'succeeded' or not has_result(source) then return nil end
  local seen = seen_at_end(source)
  local revision = seen and read_origin(seen.origin)
  return revision and revision == redis.call('HGET', P .. 'revisions', model) and source or nil
end

if idem ~= '' then
  local known = redis.call('HMGET', idem_key(idem), 'id', 'body')
  if known[1] and redis.call('EXISTS', job_key(known[1])) == 1 then
    return { known[2] == body and 'existing' or 'reused', view(known[1]), last_event(known[1]) }
  end
end
local source = known_answer()
if not source then
  if total_queued() >= max_queued then return { 'full', '', '' } end
  if max_queued_key > 0 and redis.call('ZCARD', line_key(queue, key)) >= max_queued_key then
    return { 'full_key', '', '' }
  end
  -- A single request above the limit may still wait alone.
  local bytes = #request + #metadata
  local waiting = waiting_bytes('*')
  if waiting > 0 and waiting + bytes > max_bytes then return { 'full_bytes', '', '' } end
  waiting = waiting_bytes(key)
  if key ~= '' and waiting > 0 and waiting + bytes > max_bytes_key then return { 'full_key_bytes', '', '' } end
end
local id = new_id()
store(id)
if source then
  answer_from(source, id)
  count('cache_hits|' .. method)
  return { 'cached', view(id), last_event(id) }
end
enqueue(id)
state_event(id, 'queued')
return { 'created', view(id), last_event(id) }
