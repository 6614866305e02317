-- id, attempt, state, result ('at digest size encoded' or ''), its bytes when inline, error, provenance, timing, revision
-- of the model or '', tokens evaluated
-- → finished, fenced, already, unknown, or unwritten when the result's blob has been swept meanwhile
local id, attempt, state = ARGV[1], ARGV[2], ARGV[3]
local h = redis.call('HMGET', job_key(id), 'state', 'attempt', 'ttl', 'cache', 'model')
if not h[1] then return 'unknown' end
if terminal(h[1]) then return 'already' end
if h[2] ~= attempt then
  count('fenced')
  return 'fenced'
end
if ARGV[4] ~= '' and not keep_result(id, ARGV[4], ARGV[5], h[3]) then return 'unwritten' end
-- Requeued but not claimed again: the work is done, so it counts, its time too.
if h[1] == 'queued' then
  dequeue(id)
  redis.call('HSET', job_key(id), 'state', 'running')
end
for i, name in ipairs({ 'error', 'provenance', 'timing', 'revision' }) do
  if ARGV[5 + i] ~= '' then redis.call('HSET', job_key(id), name, ARGV[5 + i]) end
end
if state == 'succeeded' and h[4] and ARGV[9] ~= '' then redis.call('SET', P .. 'cache:' .. h[4], id, 'EX', h[3]) end
count('tokens|' .. h[5], ARGV[10])
close(id, state)
return 'finished'
