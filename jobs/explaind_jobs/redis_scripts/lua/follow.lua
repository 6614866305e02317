-- id, caller → {the job's view, id of its latest event}, or nil: reading events after that id misses none
if not visible(ARGV[1], ARGV[2]) then return nil end
return { view(ARGV[1]), last_event(ARGV[1]) }
