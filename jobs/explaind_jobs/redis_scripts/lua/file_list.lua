-- kind, caller, after or '', limit → {found (0|1: does `after` exist), row…}, newest first
local index = P .. 'files:' .. ARGV[1] .. (ARGV[2] == '*' and '' or ':' .. ARGV[2])
local from = '+inf'
if ARGV[3] ~= '' then
  -- A recently deleted file keeps its position, for clients that delete while listing.
  local place = redis.call('ZSCORE', index, ARGV[3]) or redis.call('GET', P .. 'files:gone:' .. ARGV[3])
  if not place then return { 0 } end
  from = '(' .. int(tonumber(place))
end
local out = { 1 }
for _, id in ipairs(redis.call('ZRANGE', index, from, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, tonumber(ARGV[4]))) do
  local row = redis.call('HMGET', P .. 'file:' .. id, 'created', 'card', 'blob', 'digest', 'size')
  if row[1] then
    out[#out + 1] = { id, unpack(row) }
  else
    redis.call('ZREM', index, id)
  end
end
return out
