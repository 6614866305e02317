-- grace ms, condemned ms, limit → digests of blobs that the caller must remove now, and confirm
local t, limit = now(), tonumber(ARGV[3])
local out = {}
local function take(digest)
  redis.call('ZREM', P .. 'blobs_dead', digest)
  redis.call('ZADD', P .. 'blobs_condemned', t, digest)
  out[#out + 1] = digest
end
-- First those of a sweeper that died, then those unreferenced for long.
local held = t - tonumber(ARGV[2])
for _, digest in ipairs(redis.call('ZRANGEBYSCORE', P .. 'blobs_condemned', '-inf', held, 'LIMIT', 0, limit)) do
  take(digest)
end
local dead = t - tonumber(ARGV[1])
for _, digest in ipairs(redis.call('ZRANGEBYSCORE', P .. 'blobs_dead', '-inf', dead, 'LIMIT', 0, limit - #out)) do
  -- A blob announced while others referred to it is still in use.
  if redis.call('EXISTS', blob_key(digest)) == 1 then
    redis.call('ZREM', P .. 'blobs_dead', digest)
  else
    take(digest)
  end
end
return out
