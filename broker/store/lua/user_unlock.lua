-- Lift the lock, by an administrator or by a phone.
-- KEYS user, devices, presence, limits; ARGV device id, head that C verified; or '', ''
-- -> {'ok', {device id, presence, ...}} | {'denied'} | {'no-user'}
local user, devices, presence, limits = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

if redis.call('EXISTS', user) == 0 then
  return {'no-user'}
end
if ARGV[1] ~= '' then
  local device = redis.call('HGET', devices, ARGV[1])
  if not is_active(device) or string.sub(device, 1, #ARGV[2]) ~= ARGV[2] then
    return {'denied'}
  end
end
limits_clear(limits)
return {'ok', device_routes(devices, presence)}
