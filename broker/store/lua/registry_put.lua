-- KEYS organisation or portal; ARGV record -> 1; 0: another one stands there. A repeat of the same is as good as the first.
if redis.call('SETNX', KEYS[1], ARGV[1]) == 1 or redis.call('GET', KEYS[1]) == ARGV[1] then
  return 1
end
return 0
