-- blob → nothing. A loose blob has been removed.
redis.call('ZREM', P .. 'files:loose', ARGV[1])
