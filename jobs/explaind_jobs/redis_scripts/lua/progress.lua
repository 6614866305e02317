-- id, attempt, lease_ms, progress (JSON) → lease status
even_when_full()
local found = standing(ARGV[1], ARGV[2], tonumber(ARGV[3]))
if found ~= 'lost' then
  redis.call('HSET', job_key(ARGV[1]), 'progress', ARGV[4])
  event(ARGV[1], 'progress', ARGV[4])
end
return found
