-- id, caller → the job's view, or nil
if not visible(ARGV[1], ARGV[2]) then return nil end
return view(ARGV[1])
