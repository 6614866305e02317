-- id → {at, digest, size, encoded size, bytes when inline}, or nil when there is no result
local h = redis.call('HMGET', job_key(ARGV[1]), 'result_at', 'result_digest', 'result_size', 'result_encoded')
if not h[1] then return nil end
h[5] = ''
if h[1] == 'inline' then h[5] = redis.call('GET', result_key(ARGV[1])) end
if not h[5] then return nil end
return h
