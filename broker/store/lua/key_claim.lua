-- A phone's key belongs to one device of one user, for good: the first that claims it.
-- KEYS key; ARGV device id -> 1; 0: it is another's
if redis.call('SETNX', KEYS[1], ARGV[1]) == 1 or redis.call('GET', KEYS[1]) == ARGV[1] then
  return 1
end
return 0
