-- id, attempt, state, ttl_s, has result (0|1), result, error, provenance, timing → finished, fenced, already or unknown
local id, attempt, state, ttl_s = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local h = redis.call('HMGET', job_key(id), 'state', 'attempt')
if not h[1] then return 'unknown' end
if terminal(h[1]) then return 'already' end
if h[2] ~= attempt then return 'fenced' end
-- Requeued but not claimed again: the work is done, so it counts.
if h[1] == 'queued' then dequeue(id) end
if ARGV[5] == '1' then redis.call('SET', result_key(id), ARGV[6], 'EX', ttl_s) end
for i, name in ipairs({ 'error', 'provenance', 'timing' }) do
  if ARGV[6 + i] ~= '' then redis.call('HSET', job_key(id), name, ARGV[6 + i]) end
end
close(id, state, ttl_s)
return 'finished'
