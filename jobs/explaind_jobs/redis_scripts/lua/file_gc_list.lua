-- ms for which a loose blob is left alone, limit → {blob…}, the longest loose first
return redis.call('ZRANGE', P .. 'files:loose', '-inf', now() - tonumber(ARGV[1]), 'BYSCORE', 'LIMIT', 0,
  tonumber(ARGV[2]))
