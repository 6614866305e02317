-- id, MAC, name, scopes, lifetime ms or '', requests a minute, burst, max_queued, max_running, pepper fingerprint,
-- whether another fingerprint may be replaced (0|1)
-- → created, taken (the id), or pepper (the other keys were made with another pepper)
local key = P .. 'apikey:' .. ARGV[1]
local mark = redis.call('GET', P .. 'access')
if mark and mark ~= ARGV[10] and ARGV[11] == '0' then return 'pepper' end
if redis.call('EXISTS', key) == 1 then return 'taken' end
local t = now()
redis.call('HSET', key, 'mac', ARGV[2], 'name', ARGV[3], 'scopes', ARGV[4], 'created', int(t),
  'requests_per_minute', ARGV[6], 'burst', ARGV[7], 'max_queued', ARGV[8], 'max_running', ARGV[9])
if ARGV[5] ~= '' then redis.call('HSET', key, 'expires', int(t + tonumber(ARGV[5]))) end
redis.call('SADD', P .. 'apikeys', ARGV[1])
-- From now on keys are required; nothing unsets this, so revoking the last key does not open the service.
redis.call('SET', P .. 'access', ARGV[10])
return 'created'
