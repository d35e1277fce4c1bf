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
-- what is needed (a bit of capabilities, 0 for nothing); and how many are active. Devices: what HGETALL says of them.
local function routes_of(devices, presence_key, needed)
  local active, routes = {}, {}
  for i = 1, #devices, 2 do
    if is_active(devices[i + 1]) then
      active[#active + 1] = devices[i]
    end
  end
  local presences = #active > 0 and redis.call('HMGET', presence_key, unpack(active)) or {}
  for i, id in ipairs(active) do
    local presence = presences[i] or ''
    if can_do(presence, needed) then
      routes[#routes + 1] = id
      routes[#routes + 1] = presence
    end
  end
  return routes, #active
end

-- How many of them hang on a worker: of those whose connection ended only the capabilities are left.
local function count_attached(routes)
  local attached = 0
  for i = 2, #routes, 2 do
    if string.match(routes[i], '^[^#]') then
      attached = attached + 1
    end
  end
  return attached
end

local function device_routes(devices_key, presence_key)
  local routes = routes_of(redis.call('HGETALL', devices_key), presence_key, 0)
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

-- A hash as a table. Reading all of one at once costs Redis less than asking twice for a part of it.
local function read_hash(key)
  local hash, all = {}, redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    hash[all[i]] = all[i + 1]
  end
  return hash
end

-- The inboxes that wait for changes of a challenge: fields 'w:<inbox>' of what was read of it.
local function waiters_of(hash)
  local inboxes = {}
  for field in pairs(hash) do
    if string.sub(field, 1, 2) == 'w:' then
      inboxes[#inboxes + 1] = string.sub(field, 3)
    end
  end
  return inboxes
end

-- 'p:<device id>' of a challenge is '<progress> <sent ms> <delivered ms> <seen ms>' (2 sent, 3 delivered, 4 seen), 0
-- for not yet. What a phone says is '<progress> <ms ago> <ms ago> <ms ago>'. -> the field anew, nil where that is no news.
-- A progress that skips a step dates the step skipped as well: what was seen was delivered.
local FOUR_NUMBERS = '^(%d+) (%d+) (%d+) (%d+)$'
local SAID = '(%S+) (%d+ %d+ %d+ %d+)'
local function progress_with(value, said, now)
  local times, ago, had, progress = {}, {}, '1', nil
  if value then
    had, times[2], times[3], times[4] = string.match(value, FOUR_NUMBERS)
  end
  progress, ago[2], ago[3], ago[4] = string.match(said, FOUR_NUMBERS)
  if tonumber(progress) <= tonumber(had) then
    return nil
  end
  for step = had + 1, progress do
    times[step] = now - ago[step]
  end
  return string.format('%d %d %d %d', progress, times[2] or 0, times[3] or 0, times[4] or 0), now - ago[tonumber(progress)]
end

-- How far it came on each phone: device id, what progress_with made, ...
local function progress_of(challenge)
  local progress = {}
  for field, value in pairs(challenge) do
    if string.sub(field, 1, 2) == 'p:' then
      progress[#progress + 1] = string.sub(field, 3)
      progress[#progress + 1] = value
    end
  end
  return progress
end

-- What a challenge is, as scripts return it: now, state, revision, created, expires, settled or '', settlement or '',
-- {device id, progress, ...}, attempt, phones that were attached when it was made ('0': not known).
local function view_of(challenge, now)
  return {tostring(now), challenge.state or '', challenge.revision or '0', challenge.created or '0',
    challenge.expires or '0', challenge.settled or '', challenge.settlement or '', progress_of(challenge),
    challenge.attempt or '1', challenge.attached or '0'}
end

-- The same inboxes of a challenge or enrolment that was not read as a whole.
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
