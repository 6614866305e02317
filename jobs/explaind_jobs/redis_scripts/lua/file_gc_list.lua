-- minimum age of loose blobs in ms, limit → {blob…}, longest loose first
return redis.call('ZRANGE', P .. 'files:loose', '-inf', now() - tonumber(ARGV[1]), 'BYSCORE', 'LIMIT', 0,
  tonumber(ARGV[2]))
