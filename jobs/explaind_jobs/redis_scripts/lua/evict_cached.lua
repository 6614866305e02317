-- id: its result is lost or damaged, so it is taken out of the cache
local h = result_of(ARGV[1])
local key = redis.call('HGET', job_key(ARGV[1]), 'cache')
if key then redis.call('DEL', P .. 'cache:' .. key) end
if h[1] == 'inline' then redis.call('DEL', result_key(h[2])) end
return 1
