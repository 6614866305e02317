-- Refused where any write is: this one needs disk, memory, replicas and rights too, and there never is such a key.
redis.call('SET', P .. 'nothing', '', 'XX')
