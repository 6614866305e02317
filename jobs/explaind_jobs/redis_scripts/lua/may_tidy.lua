-- seconds → 1 when nobody has tidied the blob store for so long
return redis.call('SET', P .. 'blobs_tidied', 1, 'NX', 'EX', ARGV[1]) and 1 or 0
