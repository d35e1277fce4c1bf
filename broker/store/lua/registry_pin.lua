-- KEYS certificate; ARGV portal's id, 1 to pin it, 0 to give it up -> 1; 0: it is another portal's
local holder = redis.call('GET', KEYS[1])
if ARGV[2] == '1' then
  if holder and holder ~= ARGV[1] then
    return 0
  end
  redis.call('SET', KEYS[1], ARGV[1])
elseif holder == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
