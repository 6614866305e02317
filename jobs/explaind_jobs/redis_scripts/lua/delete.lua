-- id, caller → deleted, active or unknown
local id = ARGV[1]
if not visible(id, ARGV[2]) then return 'unknown' end
local h = redis.call('HMGET', job_key(id), 'state', 'idem', 'key')
if not terminal(h[1]) then return 'active' end
if h[2] then redis.call('DEL', idem_key(h[2])) end
forget(id, h[3], shared_digest(id))
return 'deleted'
