-- → {waiting (JSON): [{queue, model, waiting}], [{queue, age of the oldest in seconds}]; counters: name, value…}
-- for /metrics: the state of the store as a whole.
local depths, ages, t = {}, {}, now()
for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
  local by_model = {}
  for _, key in ipairs(redis.call('SMEMBERS', keys_key(queue))) do
    for _, model in ipairs(redis.call('SMEMBERS', lanes_key(queue, key))) do
      by_model[model] = (by_model[model] or 0) + redis.call('ZCARD', lane_key(queue, key, model))
    end
  end
  for _, id in ipairs(redis.call('ZRANGE', suspects_key(queue), 0, -1)) do
    local model = redis.call('HGET', job_key(id), 'model')
    by_model[model] = (by_model[model] or 0) + 1
  end
  for model, waiting in pairs(by_model) do depths[#depths + 1] = { queue, model, waiting } end
  local oldest = redis.call('ZRANGE', queue_key(queue), 0, 0, 'WITHSCORES')
  ages[#ages + 1] = { queue, oldest[2] and math.max(0, t - tonumber(oldest[2]) / 1000) / 1000 or 0 }
end
local running = redis.call('ZCARD', P .. 'leases')
local outbox = redis.call('ZCARD', P .. 'outbox')
local facts = { depths = depths, ages = ages, running = running, outbox = outbox, waiting_bytes = waiting_bytes('*') }
return { cjson.encode(facts), redis.call('HGETALL', P .. 'stats') }
