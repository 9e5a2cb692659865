-- Our notes. KEYS[1] their hash.
return redis.call('HGETALL', KEYS[1])
