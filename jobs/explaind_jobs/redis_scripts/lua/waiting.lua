-- → {queue, number of waiting jobs, …}
local out = {}
for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
  out[#out + 1] = queue
  out[#out + 1] = waiting_in(queue)
end
return out
