-- id → the job's view, or nil
return view(ARGV[1])
