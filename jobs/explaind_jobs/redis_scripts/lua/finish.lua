-- id, attempt, state, result ('at digest size encoded' or ''), its bytes when inline, error, what of the provenance is
-- the job's own, timing, origin (what it has in common with others) and its digest, tokens evaluated,
-- the last progress (JSON)
-- → finished, fenced, already, unknown, or unwritten when the result's blob has been swept meanwhile
even_when_full()
local id, attempt, state = ARGV[1], ARGV[2], ARGV[3]
local h = redis.call('HMGET', job_key(id), 'state', 'attempt', 'ttl', 'cache', 'model')
if not h[1] then return 'unknown' end
if terminal(h[1]) then return 'already' end
if h[2] ~= attempt then
  count('fenced')
  return 'fenced'
end
if ARGV[4] ~= '' and not keep_result(id, ARGV[4], ARGV[5], h[3]) then return 'unwritten' end
-- Requeued but not claimed again: the work is done, so it counts, with its time.
if h[1] == 'queued' then
  dequeue(id)
  redis.call('HSET', job_key(id), 'state', 'running')
end
for name, value in pairs({ error = ARGV[6], provenance = ARGV[7], timing = ARGV[8] }) do
  if value ~= '' then redis.call('HSET', job_key(id), name, value) end
end
keep_origin(id, ARGV[10], ARGV[9])
if state == 'succeeded' and h[4] and string.sub(ARGV[9], 1, 1) ~= '\n' then
  redis.call('SET', P .. 'cache:' .. h[4], id, 'EX', h[3])
end
count('tokens|' .. h[5], ARGV[11])
if ARGV[12] ~= '' and ARGV[12] ~= redis.call('HGET', job_key(id), 'progress') then
  redis.call('HSET', job_key(id), 'progress', ARGV[12])
  event(id, 'progress', ARGV[12])
end
close(id, state)
return 'finished'
