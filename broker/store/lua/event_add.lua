-- Put an event into its organisation's. Ids are '<ms>-<number>': the number counts up by one, so that who reads sees
-- whether something was trimmed in between; the time never goes back.
-- KEYS events, state, event; ARGV record (sealed), kept about, kept ms -> {{inbox, ...}} to be told
local WATCHED_MS, SEEN_MS = 90000, 60000
local events, state = KEYS[1], KEYS[2]

local now, watching = now_ms(), {}
if not redis.call('SET', KEYS[3], '', 'NX', 'PX', SEEN_MS) then
  return {{}}
end
local ms = math.max(now, tonumber(redis.call('HGET', state, 'ms') or '0'))
local number = redis.call('HINCRBY', state, 'number', 1)
redis.call('HSET', state, 'ms', string.format('%d', ms))
redis.call('XADD', events, 'MAXLEN', '~', ARGV[2], string.format('%d-%d', ms, number), 'event', ARGV[1])
redis.call('XTRIM', events, 'MINID', '~', string.format('%d', now - tonumber(ARGV[3])))
for _, field in ipairs(redis.call('HKEYS', state)) do
  if string.sub(field, 1, 2) == 'w:' then
    if tonumber(redis.call('HGET', state, field)) > now - WATCHED_MS then
      watching[#watching + 1] = string.sub(field, 3)
    else
      redis.call('HDEL', state, field)
    end
  end
end
return {watching}
