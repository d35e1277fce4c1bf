-- Put a device's next generation in the place of the one that C verified. A repeat is as good as the first.
-- KEYS devices; ARGV device id, head of the present value, new value -> {'ok'} | {'denied'}
local device = redis.call('HGET', KEYS[1], ARGV[1])
if device == ARGV[3] then
  return {'ok'}
end
if not is_active(device) or string.sub(device, 1, #ARGV[2]) ~= ARGV[2] then
  return {'denied'}
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return {'ok'}
