-- digest, condemned ms → go, or wait while a sweeper removes that blob. A blob that is announced counts as dead from
-- now on: so long it is safe, and if its writer dies it is swept.
local digest, t = ARGV[1], now()
local condemned = redis.call('ZSCORE', P .. 'blobs_condemned', digest)
if condemned and tonumber(condemned) > t - tonumber(ARGV[2]) then return 'wait' end
redis.call('ZREM', P .. 'blobs_condemned', digest)
redis.call('ZADD', P .. 'blobs_dead', t, digest)
return 'go'
