-- kind, id, caller, blob, most files, ms an announced blob may wait, whether it replaces a file of that id (0|1),
-- then names and values of the record
-- → {outcome, blob that is no longer referenced or '', row…}; outcome: created, existing (the record is unchanged),
-- replaced, full, or late (the announced blob may be swept at any moment)
local kind, id, caller, blob = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key, own, all = P .. 'file:' .. id, P .. 'files:' .. kind .. ':' .. caller, P .. 'files:' .. kind
local known = redis.call('HGET', key, 'blob')
if known and ARGV[7] == '0' then
  return { 'existing', blob, id, unpack(redis.call('HMGET', key, 'created', 'card', 'blob', 'digest', 'size')) }
end
if not known and redis.call('ZCARD', own) >= tonumber(ARGV[5]) then return { 'full', blob } end
local announced = tonumber(redis.call('ZSCORE', P .. 'files:loose', blob) or nil)
if not announced or now() - announced > tonumber(ARGV[6]) then return { 'late', '' } end
local place = micros()
redis.call('HSET', key, 'kind', kind, 'key', caller, 'blob', blob, 'created', int(math.floor(place / 1000)),
  unpack(ARGV, 8))
redis.call('ZADD', own, int(place), id)
redis.call('ZADD', all, int(place), id)
redis.call('ZREM', P .. 'files:loose', blob)
redis.call('DEL', P .. 'files:gone:' .. id)
if known then redis.call('ZADD', P .. 'files:loose', now(), known) end
count('files_kept|' .. kind)
return { known and 'replaced' or 'created', known or '', id,
  unpack(redis.call('HMGET', key, 'created', 'card', 'blob', 'digest', 'size')) }
