-- → {queue, number of waiting jobs, …}
local out = {}
for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
  out[#out + 1] = queue
  out[#out + 1] = redis.call('ZCARD', queue_key(queue))
end
return out
