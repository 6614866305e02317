-- random, method, model, queue, request, metadata, idempotency digest or '', body digest, max_queued
-- → {outcome, id}: created, existing, reused (the key belongs to another body) or full
local random, method, model, queue, request, metadata = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local key, body, max_queued = ARGV[7], ARGV[8], tonumber(ARGV[9])

if key ~= '' then
  local known = redis.call('HMGET', idem_key(key), 'id', 'body')
  if known[1] and redis.call('EXISTS', job_key(known[1])) == 1 then
    return { known[2] == body and 'existing' or 'reused', known[1] }
  end
end
if total_queued() >= max_queued then return { 'full', '' } end

-- Ids sort by time: 11 characters of microseconds, 15 of chance.
local place = micros()
local digits, rest, stamp = '0123456789abcdefghijklmnopqrstuv', place, ''
for _ = 1, 11 do
  local digit = rest % 32
  stamp = string.sub(digits, digit + 1, digit + 1) .. stamp
  rest = math.floor(rest / 32)
end
local id = 'job_' .. stamp .. random

redis.call('HSET', job_key(id), 'state', 'queued', 'method', method, 'model', model, 'queue', queue,
  'request', request, 'metadata', metadata, 'created', int(math.floor(place / 1000)), 'place', int(place),
  'attempt', 0, 'losses', 0)
if key ~= '' then
  redis.call('HSET', job_key(id), 'idem', key)
  redis.call('DEL', idem_key(key))
  redis.call('HSET', idem_key(key), 'id', id, 'body', body)
end
redis.call('ZADD', P .. 'index', 0, id)
enqueue(id)
return { 'created', id }
