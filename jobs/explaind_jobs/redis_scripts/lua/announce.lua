-- digest, condemned ms → go, or wait while a sweeper removes that blob. An announced blob counts as unreferenced from
-- now on: it is safe during the grace period, and swept if its writer dies.
local digest, t = ARGV[1], now()
local condemned = redis.call('ZSCORE', P .. 'blobs_condemned', digest)
if condemned and tonumber(condemned) > t - tonumber(ARGV[2]) then return 'wait' end
redis.call('ZREM', P .. 'blobs_condemned', digest)
redis.call('ZADD', P .. 'blobs_dead', t, digest)
return 'go'
