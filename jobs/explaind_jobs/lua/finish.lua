-- id, attempt, state, ttl_s, result ('at digest size encoded' or ''), its bytes when inline, error, provenance, timing
-- → finished, fenced, already, unknown, or unwritten when the result's blob has been swept meanwhile
local id, attempt, state, ttl_s = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local h = redis.call('HMGET', job_key(id), 'state', 'attempt')
if not h[1] then return 'unknown' end
if terminal(h[1]) then return 'already' end
if h[2] ~= attempt then return 'fenced' end
if ARGV[5] ~= '' and not keep_result(id, ARGV[5], ARGV[6], ttl_s) then return 'unwritten' end
-- Requeued but not claimed again: the work is done, so it counts.
if h[1] == 'queued' then dequeue(id) end
for i, name in ipairs({ 'error', 'provenance', 'timing' }) do
  if ARGV[6 + i] ~= '' then redis.call('HSET', job_key(id), name, ARGV[6 + i]) end
end
close(id, state, ttl_s)
return 'finished'
