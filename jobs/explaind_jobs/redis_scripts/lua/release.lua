-- id, attempt, lost (0|1: its device broke while it ran), max_losses, problem (JSON)
-- → 1 if the worker held the job and has released it
even_when_full()
local id = ARGV[1]
local h = redis.call('HMGET', job_key(id), 'state', 'attempt')
if h[2] ~= ARGV[2] or not active(h[1]) then return 0 end
redis.call('HSET', job_key(id), 'owner', '')
if ARGV[3] == '1' then
  lose(id, tonumber(ARGV[4]), ARGV[5])
elseif h[1] == 'cancelling' then
  close(id, 'cancelled')
else
  requeue(id)
end
return 1
