-- blob → nothing. The blob is about to be written: until a record refers to it, it is among the loose.
redis.call('ZADD', P .. 'files:loose', now(), ARGV[1])
