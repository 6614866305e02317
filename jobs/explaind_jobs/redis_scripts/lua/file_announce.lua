-- blob → nothing. The blob is about to be written: until a record refers to it, it counts as unreferenced (loose).
redis.call('ZADD', P .. 'files:loose', now(), ARGV[1])
