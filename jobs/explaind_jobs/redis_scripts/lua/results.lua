-- Prepended to every script: results, keyed by the digest of their content. Small ones are here, large ones are blobs.
--   result:{digest}  a small result, kept as long as the last job that has it; `results` counts these jobs by digest
--   blob:{digest}    the jobs that refer to it        blob_of         job → digest
--   blobs_dead       unreferenced digests, by the time since then (or since a writer announced it)
--   blobs_condemned  digests a sweeper is removing, by the time it began
local function blob_key(digest) return P .. 'blob:' .. digest end

local function refer(id, digest)
  redis.call('SADD', blob_key(digest), id)
  redis.call('HSET', P .. 'blob_of', id, digest)
  redis.call('ZREM', P .. 'blobs_dead', digest)
end

-- After the job's removal: its blob may be removed too, after the grace period.
local function unrefer(id)
  local digest = redis.call('HGET', P .. 'blob_of', id)
  if not digest then return end
  redis.call('HDEL', P .. 'blob_of', id)
  redis.call('SREM', blob_key(digest), id)
  if redis.call('EXISTS', blob_key(digest)) == 0 then redis.call('ZADD', P .. 'blobs_dead', now(), digest) end
end

-- A blob that is referred to, or was announced and not swept since, is in the store.
local function blob_stands(digest)
  return redis.call('EXISTS', blob_key(digest)) == 1 or redis.call('ZSCORE', P .. 'blobs_dead', digest)
end

local function result_key(digest) return P .. 'result:' .. string.sub(digest, 1, SHARED_DIGITS) end

-- `described` is 'at digest size encoded'; '' for `bytes` if they are here already. False if the blob it names has
-- been swept: it must be written again.
local function keep_result(id, described, bytes, ttl_s)
  local at, digest, size, encoded = string.match(described, '^(%a+) (%x+) (%d+) (%d+)$')
  if at == 'blob' then
    if not blob_stands(digest) then return false end
    refer(id, digest)
  else
    if redis.call('EXISTS', result_key(digest)) == 0 then redis.call('SET', result_key(digest), bytes) end
    keep_for(result_key(digest), ttl_s)
    redis.call('HINCRBY', P .. 'results', string.sub(digest, 1, SHARED_DIGITS), 1)
    redis.call('HDEL', job_key(id), 'cache') -- needed only if a blob turns out to be lost
  end
  redis.call('HSET', job_key(id), 'result_at', at, 'result_digest', digest, 'result_size', size, 'result_encoded',
    encoded)
  return true
end

-- One job less has this small result; the last one removes it. If it has not been tidied for long, the count outlives
-- the bytes, so that an expired job does not remove what another has stored since.
local function drop_result(digest)
  if redis.call('HINCRBY', P .. 'results', digest, -1) > 0 then return end
  redis.call('HDEL', P .. 'results', digest)
  redis.call('DEL', result_key(digest))
end

-- A job record's reference to its result: { at, digest, size, encoded }; without `at` there is none.
local function result_of(id)
  return redis.call('HMGET', job_key(id), 'result_at', 'result_digest', 'result_size', 'result_encoded')
end

-- Whether a job's result is still available; blobs are assumed to exist.
local function has_result(id)
  local h = result_of(id)
  if h[1] == 'blob' then return blob_stands(h[2]) end
  return h[1] and redis.call('EXISTS', result_key(h[2])) == 1
end

-- Gives a job the result of another. False if the other has none (any more).
local function share_result(from, id, ttl_s)
  if not has_result(from) then return false end
  return keep_result(id, table.concat(result_of(from), ' '), '', ttl_s)
end

-- Removes everything of an ended job, also of one that has expired already.
local function forget(id, key, digest)
  redis.call('DEL', job_key(id), events_key(id))
  unrefer(id)
  if digest ~= '' then drop_result(digest) end
  redis.call('ZREM', P .. 'index', id)
  redis.call('ZREM', P .. 'index:' .. key, id)
  redis.call('ZREM', P .. 'expiring', expiring_member(id, key, digest))
  redis.call('ZREM', P .. 'outbox', id)
end
