-- KEYS user, devices, presence, limits
-- -> {exists (1, 0), {device id, device value, presence or '', ...} of active devices, locked until, now}
local user, devices, presence, limits = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local found, now = {}, now_ms()
local all = redis.call('HGETALL', devices)
for i = 1, #all, 2 do
  if is_active(all[i + 1]) then
    found[#found + 1] = all[i]
    found[#found + 1] = all[i + 1]
    found[#found + 1] = redis.call('HGET', presence, all[i]) or ''
  end
end
return {redis.call('EXISTS', user), found, string.format('%d', limits_locked_until(limits_read(limits, now, ''), now)), tostring(now)}
