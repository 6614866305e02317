-- digest: its blob has been removed
redis.call('ZREM', P .. 'blobs_condemned', ARGV[1])
return 1
