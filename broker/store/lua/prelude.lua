-- Stands in front of every script, behind time.lua. KEYS all bear one hash tag; whatever a script touches is in KEYS, so
-- that the same script runs on one Redis, on Sentinel and on Cluster.

-- A device's stored value begins with a head that scripts may read: format 1, state (A active, R revoked), then what
-- only C looks at.
local function is_active(device)
  return device ~= false and string.sub(device, 1, 2) == '1A'
end

-- Presence is '<inbox>#<connection>#<capabilities>'; a device that hangs nowhere keeps '##<capabilities>', so that what
-- it can do is known. Capabilities are bits: 1 CHOOSE, 2 CODE.
local function can_do(presence, needed)
  local capabilities = tonumber(string.match(presence, '#(%d+)$') or '0')
  return needed == 0 or math.floor(capabilities / needed) % 2 == 1
end

-- The routing that a caller fans out by: device id, presence ('' where it has none) for each active device that can do
-- what is needed (a bit of capabilities, 0 for nothing).
local function device_routes(devices_key, presence_key, needed)
  local routes = {}
  local devices = redis.call('HGETALL', devices_key)
  for i = 1, #devices, 2 do
    local presence = redis.call('HGET', presence_key, devices[i]) or ''
    if is_active(devices[i + 1]) and can_do(presence, needed or 0) then
      routes[#routes + 1] = devices[i]
      routes[#routes + 1] = presence
    end
  end
  return routes
end

-- True if the user that the enrolment was made for is there, in the same life.
local function is_of_this_life(enrolment, user)
  return redis.call('EXISTS', user) == 1
    and (redis.call('HGET', enrolment, 'born') or '') == (redis.call('HGET', user, 'born') or '')
end

local function count_active(devices_key)
  local active = 0
  for _, device in ipairs(redis.call('HVALS', devices_key)) do
    if is_active(device) then
      active = active + 1
    end
  end
  return active
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

-- pending: challenge id -> '<expiry ms> <capability that a phone needs> <portal> <browser session>'.
local function parse_pending(value)
  local expire, needed, portal, session = string.match(value, '^(%d+) (%d+) (%S+) (.*)$')
  return tonumber(expire), portal, session, tonumber(needed)
end
