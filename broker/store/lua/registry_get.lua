-- KEYS organisation or portal -> {record, now}; record is false where there is none
return {redis.call('GET', KEYS[1]), now_ms()}
