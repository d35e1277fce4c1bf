-- Stands in front of every script. KEYS all bear one hash tag; whatever a script touches is in KEYS, so that the same
-- script runs on one Redis, on Sentinel and on Cluster. Time is Redis' own: callers pass durations only.

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- A device's stored value begins with a head that scripts may read: format 1, state (A active, R revoked), then what
-- only C looks at.
local function is_active(device)
  return device ~= false and string.sub(device, 1, 2) == '1A'
end

-- The routing that a caller fans out by: device id, presence ('' where it has none) for each active device.
local function device_routes(devices_key, presence_key)
  local routes = {}
  local devices = redis.call('HGETALL', devices_key)
  for i = 1, #devices, 2 do
    if is_active(devices[i + 1]) then
      routes[#routes + 1] = devices[i]
      routes[#routes + 1] = redis.call('HGET', presence_key, devices[i]) or ''
    end
  end
  return routes
end

-- The inboxes that wait for changes of a challenge or enrolment: fields 'w:<inbox>'.
local function waiters(key)
  local inboxes = {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.sub(field, 1, 2) == 'w:' then
      inboxes[#inboxes + 1] = string.sub(field, 3)
    end
  end
  return inboxes
end

-- pending: challenge id -> '<expiry ms> <portal> <browser session>'.
local function parse_pending(value)
  local expire, portal, session = string.match(value, '^(%d+) (%S+) (.*)$')
  return tonumber(expire), portal, session
end
