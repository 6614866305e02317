-- caller, after or '', limit, scan, state, method, model ('' = any), how methods begin that are left out ('' = none)
-- → {last id looked at or '', view…}, newest first.
-- Looks at no more than `scan` jobs: the caller goes on after the last id until it has enough or that is ''.
local caller, limit, scan, hidden = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[8]
local index = (caller == '*' or caller == '') and P .. 'index' or P .. 'index:' .. caller
local from = ARGV[2] == '' and '+' or '(' .. ARGV[2]
local ids = redis.call('ZRANGE', index, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, scan)
local out, last = { '' }, ''
for _, id in ipairs(ids) do
  last = id
  local h = redis.call('HMGET', job_key(id), 'state', 'method', 'model', 'key')
  if not h[1] then
    redis.call('ZREM', index, id)
  elseif (caller == '*' or h[4] == caller) and (ARGV[5] == '' or h[1] == ARGV[5])
    and (ARGV[6] == '' or h[2] == ARGV[6]) and (ARGV[7] == '' or h[3] == ARGV[7])
    and (hidden == '' or string.sub(h[2], 1, #hidden) ~= hidden) then
    out[#out + 1] = view(id)
    if #out > limit then break end
  end
end
if #out > limit or #ids == scan then out[1] = last end
return out
