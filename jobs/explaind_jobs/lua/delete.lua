-- id → deleted, active or unknown
local id = ARGV[1]
local h = redis.call('HMGET', job_key(id), 'state', 'idem')
if not h[1] then return 'unknown' end
if not terminal(h[1]) then return 'active' end
if h[2] then redis.call('DEL', idem_key(h[2])) end
redis.call('DEL', job_key(id), result_key(id))
unrefer(id)
redis.call('ZREM', P .. 'index', id)
redis.call('ZREM', P .. 'expiring', id)
return 'deleted'
