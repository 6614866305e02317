-- id, attempt, ttl_s → 1 when the worker held the job and it has left the worker
local id = ARGV[1]
local h = redis.call('HMGET', job_key(id), 'state', 'attempt')
if h[2] ~= ARGV[2] or not active(h[1]) then return 0 end
redis.call('HSET', job_key(id), 'owner', '')
if h[1] == 'cancelling' then close(id, 'cancelled', tonumber(ARGV[3])) else requeue(id) end
return 1
