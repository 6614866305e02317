-- id → {at, digest, size, encoded size, bytes if inline}, or nil if there is no result
local h = result_of(ARGV[1])
if not h[1] then return nil end
h[5] = h[1] == 'inline' and redis.call('GET', result_key(h[2])) or ''
if h[1] == 'inline' and h[5] == '' then return nil end
return h
