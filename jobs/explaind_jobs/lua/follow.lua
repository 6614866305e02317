-- id, caller → {the job's view, id of its last event}, or nil: where to begin listening without missing anything
if not visible(ARGV[1], ARGV[2]) then return nil end
local last = redis.call('XREVRANGE', events_key(ARGV[1]), '+', '-', 'COUNT', 1)
return { view(ARGV[1]), last[1] and last[1][1] or '0-0' }
