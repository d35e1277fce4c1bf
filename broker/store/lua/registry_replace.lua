-- KEYS organisation or portal; ARGV record as it was read, record in its place -> 1; 0: it has changed since. A repeat is
-- as good as the first.
local now = redis.call('GET', KEYS[1])
if now == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2])
  return 1
end
return now == ARGV[2] and 1 or 0
