-- Shared by every script: results, and the blobs of large ones. A blob is known by the digest of its content.
--   blob:{digest}    the jobs that refer to it        blob_of         job → digest
--   blobs_dead       digests nobody refers to, by the time since then (or since a writer announced it)
--   blobs_condemned  digests a sweeper is removing, by the time it began
local function blob_key(digest) return P .. 'blob:' .. digest end

local function refer(id, digest)
  redis.call('SADD', blob_key(digest), id)
  redis.call('HSET', P .. 'blob_of', id, digest)
  redis.call('ZREM', P .. 'blobs_dead', digest)
end

-- The job is gone: what it referred to may be too, after the grace.
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

local function describe(id, at, digest, size, encoded)
  redis.call('HSET', job_key(id), 'result_at', at, 'result_digest', digest, 'result_size', size,
    'result_encoded', encoded)
end

-- `described` is 'at digest size encoded'. False when the blob it names has been swept: it must be written again.
local function keep_result(id, described, bytes, ttl_s)
  local at, digest, size, encoded = string.match(described, '^(%a+) (%x+) (%d+) (%d+)$')
  if at == 'blob' then
    if not blob_stands(digest) then return false end
    refer(id, digest)
  else
    redis.call('SET', result_key(id), bytes, 'EX', ttl_s)
  end
  describe(id, at, digest, size, encoded)
  return true
end

-- Whether a job's result can still be had; a blob is believed to be where it was put.
local function has_result(id)
  local h = redis.call('HMGET', job_key(id), 'result_at', 'result_digest')
  if h[1] == 'blob' then return blob_stands(h[2]) end
  return h[1] and redis.call('EXISTS', result_key(id)) == 1
end

-- Gives a job the result of another; a blob is shared. False when the other has none (any more).
local function share_result(from, id, ttl_s)
  local h = redis.call('HMGET', job_key(from), 'result_at', 'result_digest', 'result_size', 'result_encoded')
  if not h[1] then return false end
  local bytes = ''
  if h[1] == 'inline' then bytes = redis.call('GET', result_key(from)) end
  if not bytes then return false end
  return keep_result(id, table.concat(h, ' '), bytes, ttl_s)
end

-- Everything of a job that has ended, and of one that has expired already.
local function forget(id, key)
  redis.call('DEL', job_key(id), result_key(id), events_key(id))
  unrefer(id)
  redis.call('ZREM', P .. 'index', id)
  redis.call('ZREM', P .. 'index:' .. key, id)
  redis.call('ZREM', P .. 'expiring', id .. ' ' .. key)
  redis.call('ZREM', P .. 'outbox', id)
end
