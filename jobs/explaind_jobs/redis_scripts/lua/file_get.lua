-- kind, id, caller, whether to include the preview (0|1) → row with the preview at its end, or nil
local key = P .. 'file:' .. ARGV[2]
local h = redis.call('HMGET', key, 'kind', 'key', 'created', 'card', 'blob', 'digest', 'size')
if h[1] ~= ARGV[1] or not (ARGV[3] == '*' or h[2] == ARGV[3]) then return nil end
local preview = ARGV[4] == '1' and redis.call('HGET', key, 'preview') or ''
return { ARGV[2], h[3], h[4], h[5], h[6], h[7], preview }
