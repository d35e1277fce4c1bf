-- KEYS challenge; ARGV device id, progress (2 sent, 3 delivered, 4 seen)
-- -> {moved (1, 0), {inbox, ...}}; 'p:<device id>' is '<progress> <sent ms> <delivered ms> <seen ms>', 0 for not yet.
-- A progress that skips a step dates the step skipped as well: what was seen was delivered.
local challenge, device_id, progress = KEYS[1], ARGV[1], tonumber(ARGV[2])

local c = read_hash(challenge)
if c.state ~= 'pending' then
  return {0, {}}
end
local field = 'p:' .. device_id
local had, times = 1, {}
if c[field] then
  had, times[2], times[3], times[4] = string.match(c[field], '^(%d+) (%d+) (%d+) (%d+)$')
  had = tonumber(had)
end
if progress <= had then
  return {0, {}}
end
local now = now_ms()
for step = had + 1, progress do
  times[step] = now
end
redis.call('HSET', challenge, 'revision', tonumber(c.revision) + 1, field,
  string.format('%d %d %d %d', progress, times[2] or 0, times[3] or 0, times[4] or 0))
return {1, waiters_of(c)}
