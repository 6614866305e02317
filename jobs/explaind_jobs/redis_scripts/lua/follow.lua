-- id, caller → {the job's view, id of its last event}, or nil: where to begin listening without missing anything
if not visible(ARGV[1], ARGV[2]) then return nil end
return { view(ARGV[1]), last_event(ARGV[1]) }
