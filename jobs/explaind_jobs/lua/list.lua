-- after or '', limit, scan, state, method, model ('' = any) → {last id looked at or '', view…}, newest first.
-- Looks at no more than `scan` jobs: the caller goes on after the last id until it has enough or that is ''.
local limit, scan = tonumber(ARGV[2]), tonumber(ARGV[3])
local from = ARGV[1] == '' and '+' or '(' .. ARGV[1]
local ids = redis.call('ZRANGE', P .. 'index', from, '-', 'BYLEX', 'REV', 'LIMIT', 0, scan)
local out, last = { '' }, ''
for _, id in ipairs(ids) do
  last = id
  local h = redis.call('HMGET', job_key(id), 'state', 'method', 'model')
  if not h[1] then
    redis.call('ZREM', P .. 'index', id)
    redis.call('ZREM', P .. 'expiring', id)
    unrefer(id)
  elseif (ARGV[4] == '' or h[1] == ARGV[4]) and (ARGV[5] == '' or h[2] == ARGV[5])
    and (ARGV[6] == '' or h[3] == ARGV[6]) then
    out[#out + 1] = view(id)
    if #out > limit then break end
  end
end
if #out > limit or #ids == scan then out[1] = last end
return out
