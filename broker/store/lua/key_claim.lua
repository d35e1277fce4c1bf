-- A phone's key belongs to one device of one user: the first that claims it. A claim is for a while, until what it was
-- made for has succeeded and keeps it for good.
-- KEYS key; ARGV device id, keep (1, 0) -> 1; 0: it is another's
local CLAIM_MS = 900000

if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', CLAIM_MS) and redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if ARGV[2] == '1' then
  redis.call('PERSIST', KEYS[1])
end
return 1
