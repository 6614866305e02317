-- id, caller → the job's view, or nil. Idempotent.
even_when_full()
local id = ARGV[1]
if not visible(id, ARGV[2]) then return nil end
local state = redis.call('HGET', job_key(id), 'state')
if state == 'queued' then
  dequeue(id)
  close(id, 'cancelled')
elseif state == 'running' then
  redis.call('HSET', job_key(id), 'state', 'cancelling')
  state_event(id, 'cancelling', redis.call('HGET', job_key(id), 'attempt'))
end
if active(state) then redis.call('PUBLISH', P .. 'cancel', id) end
return view(id)
