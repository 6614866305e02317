-- kind, id, caller, seconds for which a listing may continue after it → its blob, now loose, or nil
local id, key = ARGV[2], P .. 'file:' .. ARGV[2]
local h = redis.call('HMGET', key, 'kind', 'key', 'blob')
if h[1] ~= ARGV[1] or not (ARGV[3] == '*' or h[2] == ARGV[3]) then return nil end
local own, all = P .. 'files:' .. h[1] .. ':' .. h[2], P .. 'files:' .. h[1]
redis.call('SET', P .. 'files:gone:' .. id, redis.call('ZSCORE', all, id) or '0', 'EX', tonumber(ARGV[4]))
redis.call('DEL', key)
redis.call('ZREM', own, id)
redis.call('ZREM', all, id)
redis.call('ZADD', P .. 'files:loose', now(), h[3])
return h[3]
