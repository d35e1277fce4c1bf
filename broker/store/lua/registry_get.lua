-- KEYS organisation or portal -> record, or nil
return redis.call('GET', KEYS[1])
