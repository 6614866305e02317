-- seconds → 1 if no worker has tidied the blob store within that time
return redis.call('SET', P .. 'blobs_tidied', 1, 'NX', 'EX', ARGV[1]) and 1 or 0
