-- worker, lease_ms, jobs it holds, affinity ms, suspects' patience ms, token, number of queues, queue…, resident model…
-- → {id, attempt, method, model, request, queued ms, suspect (0|1), timeout_s or '', key, request id, trace} or {}
even_when_full()
local worker, lease_ms, held = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local affinity_ms, patience_ms = tonumber(ARGV[4]), tonumber(ARGV[5])
local queues, resident = {}, {}
for i = 8, 7 + tonumber(ARGV[7]) do queues[#queues + 1] = ARGV[i] end
for i = 8 + #queues, #ARGV do resident[ARGV[i]] = true end
local t = now()

local function told(id, attempt, queued_ms, suspect)
  local h = redis.call('HMGET', job_key(id), 'method', 'model', 'request', 'timeout', 'key', 'rid', 'trace')
  return { id, attempt, h[1], h[2], h[3], int(queued_ms), suspect, h[4] or '', h[5], h[6] or '', h[7] or '' }
end

-- A call whose reply was lost is repeated with the same token, and gets the same reply.
local before = redis.call('GET', claimed_key(ARGV[6]))
if before then
  local id, attempt, queued_ms, suspect = string.match(before, '^(%S+) (%d+) (%d+) (%d)$')
  local h = redis.call('HMGET', job_key(id), 'state', 'attempt', 'owner')
  if not active(h[1]) or h[2] ~= attempt or h[3] ~= worker then return {} end
  return told(id, tonumber(attempt), tonumber(queued_ms), tonumber(suspect))
end

local function begun(id, suspect)
  local h = redis.call('HMGET', job_key(id), 'method', 'model', 'created', 'key')
  local attempt = redis.call('HINCRBY', job_key(id), 'attempt', 1)
  local expected = pace_of(h[1] .. ' ' .. h[2]) or 1
  begin(id, worker, t)
  redis.call('HSET', job_key(id), 'charged', expected, 'token', ARGV[6])
  redis.call('ZADD', P .. 'leases', t + lease_ms, id)
  charge(h[4], expected)
  local queued_ms = math.max(0, t - tonumber(h[3]))
  observe('queued_seconds', h[1], queued_ms / 1000)
  state_event(id, 'running', attempt)
  redis.call('SET', claimed_key(ARGV[6]), string.format('%s %d %s %d', id, attempt, int(queued_ms), suspect), 'PX', lease_ms)
  return told(id, attempt, queued_ms, suspect)
end

-- A job whose worker died runs alone, on a worker without other jobs to lose. If it has waited long, a worker is
-- reserved for it, which claims nothing until it is idle.
local function suspect()
  for _, queue in ipairs(queues) do
    local head = redis.call('ZRANGE', suspects_key(queue), 0, 0, 'WITHSCORES')
    if head[1] and not gone(queue, head[1]) then
      local reserved = P .. 'reserved:' .. queue
      if held == 0 then
        redis.call('DEL', reserved)
        return head[1]
      end
      if t - tonumber(head[2]) > patience_ms then
        redis.call('SET', reserved, worker, 'NX', 'PX', lease_ms)
        if redis.call('GET', reserved) == worker then
          redis.call('PEXPIRE', reserved, lease_ms)
          return nil, true
        end
      end
    end
  end
end

local function has_room(key)
  local most = tonumber(redis.call('HGET', P .. 'apikey:' .. key, 'max_running') or 0)
  return most == 0 or redis.call('SCARD', running_key(key)) < most
end

-- The best waiting job of one key: the oldest, where a resident model's job counts as `affinity_ms` older.
local function head_of(queue, key)
  local best, best_place
  for _, model in ipairs(redis.call('SMEMBERS', lanes_key(queue, key))) do
    local head = redis.call('ZRANGE', lane_key(queue, key, model), 0, 0, 'WITHSCORES')
    while head[1] and gone(queue, head[1]) do
      head = redis.call('ZRANGE', lane_key(queue, key, model), 0, 0, 'WITHSCORES')
    end
    if head[1] then
      local place = tonumber(head[2]) - (resident[model] and affinity_ms * 1000 or 0)
      if not best or place < best_place then best, best_place = { head[1], resident[model] }, place end
    end
  end
  return best, best_place
end

-- The only choice among waiting jobs: the key with the least service, where one with a job for a resident model may
-- be ahead by `affinity_ms` of service; and of that key its best job.
local function choose()
  local best, best_turn, best_place, best_key
  for _, queue in ipairs(queues) do
    for _, key in ipairs(redis.call('SMEMBERS', keys_key(queue))) do
      local head, place = head_of(queue, key)
      if head and has_room(key) then
        local turn = turn_of(key) - (head[2] and affinity_ms / 1000 or 0)
        if not best or turn < best_turn or (turn == best_turn and place < best_place) then
          best, best_turn, best_place, best_key = head[1], turn, place, key
        end
      end
    end
  end
  return best, best_key
end

local id, reserved = suspect()
if reserved then return {} end
if id then
  dequeue(id)
  return begun(id, 1)
end
local key
id, key = choose()
if not id then return {} end
dequeue(id)
if turn_of(key) > turn_of('#') then redis.call('HSET', P .. 'turns', '#', turn_of(key)) end
return begun(id, 0)
