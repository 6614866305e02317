-- id: its result turned out to be lost, so it answers no further requests
local key = redis.call('HGET', job_key(ARGV[1]), 'cache')
if key then redis.call('DEL', P .. 'cache:' .. key) end
return 1
