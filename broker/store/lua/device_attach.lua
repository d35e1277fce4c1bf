-- A connection takes a device: presence is written, then pending is read. challenge_create writes pending, then reads
-- presence; both are atomic, so one of the two sees the other.
-- KEYS devices, presence, pending, limits
-- ARGV device id, head (what the verified Hello said: state, generation, key), presence
-- -> {'ok', now, device value, old presence or '', {challenge id, ...}, locked until} | {'denied'}
local devices, presence, pending = KEYS[1], KEYS[2], KEYS[3]
local id, head = ARGV[1], ARGV[2]

local device = redis.call('HGET', devices, id)
if not is_active(device) or string.sub(device, 1, #head) ~= head then
  return {'denied'}
end
local old = redis.call('HGET', presence, id) or ''
redis.call('HSET', presence, id, ARGV[3])
local now, waiting = now_ms(), {}
local all = redis.call('HGETALL', pending)
for i = 1, #all, 2 do
  local expire, _, _, needed = parse_pending(all[i + 1])
  if expire > now and can_do(ARGV[3], needed) then
    waiting[#waiting + 1] = all[i]
  end
end
return {'ok', tostring(now), device, old ~= ARGV[3] and old or '', waiting,
  string.format('%d', limits_locked_until(limits_read(KEYS[4], now, ''), now))}
