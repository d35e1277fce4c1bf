-- KEYS challenge; ARGV device id, progress (2 sent, 3 delivered, 4 seen)
-- -> {moved (1, 0), {inbox, ...}}; 'p:<device id>' is '<progress> <sent ms> <delivered ms> <seen ms>', 0 for not yet.
-- A progress that skips a step dates the step skipped as well: what was seen was delivered.
local challenge, device_id, progress = KEYS[1], ARGV[1], tonumber(ARGV[2])

if redis.call('HGET', challenge, 'state') ~= 'pending' then
  return {0, {}}
end
local field = 'p:' .. device_id
local had, times = 1, {}
local value = redis.call('HGET', challenge, field)
if value then
  had, times[2], times[3], times[4] = string.match(value, '^(%d+) (%d+) (%d+) (%d+)$')
  had = tonumber(had)
end
if progress <= had then
  return {0, {}}
end
local now = now_ms()
for step = had + 1, progress do
  times[step] = now
end
redis.call('HSET', challenge, field,
  string.format('%d %d %d %d', progress, times[2] or 0, times[3] or 0, times[4] or 0))
redis.call('HINCRBY', challenge, 'revision', 1)
return {1, waiters(challenge)}
