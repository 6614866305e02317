-- Refused whenever any write is: needs disk, memory, replicas and rights as well; the key never exists.
redis.call('SET', P .. 'nothing', '', 'XX')
