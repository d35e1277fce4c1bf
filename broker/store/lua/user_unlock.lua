-- Lift the lock, by an administrator or by a phone.
-- KEYS user, devices, presence, limits; ARGV device id, head that C verified; or '', ''; this very call: the same when it
--      is sent again because its reply was lost
-- -> {'ok', {device id, presence, ...}} to be told: nobody where a phone asked, and there was nothing to lift
--    | {'denied'} | {'no-user'}
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
if limits_clear(limits) > 0 then
  redis.call('HSET', limits, 'lifted_by', ARGV[3])
  redis.call('PEXPIRE', limits, KEPT_MS)
end
local news = ARGV[1] == '' or redis.call('HGET', limits, 'lifted_by') == ARGV[3]
return {'ok', news and device_routes(devices, presence) or {}}
