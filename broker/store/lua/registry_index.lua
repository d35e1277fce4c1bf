-- KEYS index; ARGV id, 1 to enter it, 0 to take it out
if ARGV[2] == '1' then
  redis.call('ZADD', KEYS[1], 0, ARGV[1])
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return 1
