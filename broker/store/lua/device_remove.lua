-- Take a device off its user: revoked, or by its own wish. One that is not there any more is as good.
-- KEYS devices, presence; ARGV device id, head that C verified, or '' where nobody had to
-- -> {'ok', device value or '', its presence or '', {device id, presence, ...} of those that stay} | {'denied'}
local devices, presence = KEYS[1], KEYS[2]

local device = redis.call('HGET', devices, ARGV[1])
if device and string.sub(device, 1, #ARGV[2]) ~= ARGV[2] then
  return {'denied'}
end
local holder = redis.call('HGET', presence, ARGV[1]) or ''
redis.call('HDEL', devices, ARGV[1])
redis.call('HDEL', presence, ARGV[1])
return {'ok', device or '', holder, device_routes(devices, presence)}
