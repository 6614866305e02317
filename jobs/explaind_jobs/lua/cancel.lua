-- id, ttl_s → the job's view, or nil. The one asked for twice is as cancelled as once.
local id = ARGV[1]
local state = redis.call('HGET', job_key(id), 'state')
if state == 'queued' then
  dequeue(id)
  close(id, 'cancelled', tonumber(ARGV[2]))
elseif state == 'running' then
  redis.call('HSET', job_key(id), 'state', 'cancelling')
end
if state == 'running' or state == 'cancelling' then redis.call('PUBLISH', P .. 'cancel', id) end
return view(id)
