-- Prepended to every script: a job's view for callers, and its estimated start.

-- Number of jobs that will start before this one: those ahead in its key's line, and each other key's turns until then.
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

-- Slots of the live workers of a class; looked up once per script.
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

-- A job's view for callers; the order is that of FIELDS in job_view.py. nil if there is none.
local SEEN = { 'created', 'started', 'finished', 'expires', 'attempt', 'progress', 'error', 'provenance', 'timing',
  'metadata', 'priority', 'cached' }
local function view(id)
  local h = redis.call('HMGET', job_key(id), 'state', 'method', 'model', 'queue', 'key', 'webhook_status')
  if not h[1] then return nil end
  local seen = seen_at_end(id)
  if not seen then
    seen = {}
    for place, value in ipairs(redis.call('HMGET', job_key(id), unpack(SEEN))) do seen[SEEN[place]] = value end
  end
  local row = { id, h[1], h[2], h[3] }
  for _, name in ipairs(SEEN) do row[#row + 1] = seen[name] or '' end
  local _, common = read_origin(seen.origin)
  row[17], row[18], row[19], row[20] = h[6] or '', '', '', common or ''
  if h[1] == 'queued' then
    row[6], row[10] = '', '' -- started and progress of an ended attempt
    local place = position(id, h[4], h[5])
    if place then row[18], row[19] = tostring(place), starts_in(place, h[4]) end
  end
  return row
end
