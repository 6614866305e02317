-- id → revoked, already, or unknown. The record is kept, so that its holder learns of the revocation.
local key = P .. 'apikey:' .. ARGV[1]
if redis.call('EXISTS', key) == 0 then return 'unknown' end
return redis.call('HSETNX', key, 'revoked', int(now())) == 1 and 'revoked' or 'already'
