-- Prepended to every script: the record of an ended job. These are by far the most records, kept for a day or longer,
-- so the record is rewritten as small as possible.

-- The fields of an ended job that only callers read are one text: a line for each of these. It is stored in pieces,
-- fields 1, 2, … of the record: a hash of short values takes Redis half the memory (hash-max-listpack-value, 64). A
-- long text is better in one piece. nil for a job that has not ended.
local SEEN_AT_END = { 'created', 'started', 'finished', 'expires', 'attempt', 'progress', 'error', 'provenance',
  'timing', 'metadata', 'priority', 'cached', 'origin', 'last' }
local PIECE, MOST_PIECES = 64, 64
local function keep_seen(id, text)
  local length = #text > PIECE * MOST_PIECES and #text or PIECE
  for from = 1, #text, length do
    redis.call('HSET', job_key(id), int((from - 1) / length + 1), string.sub(text, from, from + length - 1))
  end
end
local function seen_at_end(id)
  local pieces, seen, place = {}, {}, 0
  local piece = redis.call('HGET', job_key(id), '1')
  while piece do
    pieces[#pieces + 1] = piece
    piece = redis.call('HGET', job_key(id), int(#pieces + 1))
  end
  if #pieces == 0 then return nil end
  for line in string.gmatch(table.concat(pieces) .. '\n', '(.-)\n') do
    place = place + 1
    if SEEN_AT_END[place] then seen[SEEN_AT_END[place]] = line end
  end
  return seen
end
local function last_event(id)
  local last = last_of_stream(id)
  if last then return last end
  local seen = seen_at_end(id)
  return seen and seen.last or '0-0'
end

-- Drops fields that are no longer needed, above all the request.
local KEPT_AT_END = { 'state', 'method', 'model', 'key', 'result_at', 'result_digest', 'result_size', 'result_encoded',
  'idem', 'webhook', 'cache', 'losses' }
local function shrink_record(id)
  local seen = redis.call('HMGET', job_key(id), unpack(SEEN_AT_END))
  for place, value in ipairs(seen) do seen[place] = value or '' end
  local kept = redis.call('HMGET', job_key(id), unpack(KEPT_AT_END))
  redis.call('DEL', job_key(id))
  keep_seen(id, table.concat(seen, '\n'))
  for place, value in ipairs(kept) do
    if value then redis.call('HSET', job_key(id), KEPT_AT_END[place], value) end
  end
end

-- Data common to the jobs of one model, stored once under its digest: the revision of its weights in the first line,
-- the rest (JSON) in the second. It contains nothing of a request, so it may outlive a deleted job.
local function origin_key(origin) return P .. 'origin:' .. origin end
local function keep_origin(id, origin, text)
  redis.call('SETNX', origin_key(origin), text)
  redis.call('HSET', job_key(id), 'origin', origin)
end
local function read_origin(origin)
  local text = origin and origin ~= '' and redis.call('GET', origin_key(origin))
  return string.match(text or '', '^(.-)\n(.*)$')
end

-- Small results are keyed by half of their digest, enough to distinguish them: readers verify the whole digest.
local SHARED_DIGITS = 32

-- Digest of an ended job's shared small result, stored in its expiry entry: by then its record is gone.
local function shared_digest(id)
  local h = redis.call('HMGET', job_key(id), 'result_at', 'result_digest')
  return h[1] == 'inline' and string.sub(h[2], 1, SHARED_DIGITS) or ''
end
local function expiring_member(id, key, digest) return id .. ' ' .. key .. ' ' .. digest end
