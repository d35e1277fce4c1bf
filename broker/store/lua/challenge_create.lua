-- Accept a challenge: from the moment that this returns 'ok' it has exactly one outcome.
-- KEYS user, devices, presence, pending, limits, challenge, idempotency [, challenge to supersede]
-- ARGV id, record, life ms, kept ms after that, portal, browser session (a hash, '' for none), idempotency ('' for none:
--      what is asked for), capability that a phone needs, shows a code (1, 0), inbox that waits from now on or ''
--      [, id to supersede]
-- -> {'ok', now, expiry, {device id, presence, ...}, {inbox that waited for the superseded, ...}, superseded (1, 0),
--     {device id, presence, ...} of all phones, which may show the superseded, new (1; 0 for a repeat of this call)}
--    | {'replay', id} the idempotency key stands for that challenge | {'conflict'} it stands for another request
--    | {'no-user'} | {'no-device'} | {'no-capable'} | {'locked', until} | {'backoff', until}
--    | {'pending', id, may supersede (1, 0), same session (1, 0)} another one of the portal waits
local user, devices, presence, pending, limits = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local challenge, idempotency = KEYS[6], KEYS[7]
local id, record, life, keep = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local portal, session, asked, needed, supersede = ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[11]

local c = redis.call('HMGET', challenge, 'record', 'expires', 'superseded')
local again, expires, superseded = c[1] == record, c[2], c[3]
if asked ~= '' then
  local known = redis.call('GET', idempotency)
  if known then
    local known_id, known_asked = string.match(known, '^(%S+) (.*)$')
    if known_asked ~= asked then
      return {'conflict'}
    elseif known_id ~= id or not again then
      return {'replay', known_id}
    end
  end
end
local routes, active = routes_of(redis.call('HGETALL', devices), presence, needed)
if active == 0 then -- whoever has a device is there: both go at once
  return {redis.call('EXISTS', user) == 0 and 'no-user' or 'no-device'}
end
if #routes == 0 then
  return {'no-capable'}
end

local now = now_ms()
if not again then
  local all, open = redis.call('HGETALL', pending), {}
  for i = 1, #all, 2 do
    local expire = parse_pending(all[i + 1])
    if expire > now then
      table.insert(open, all[i])
      table.insert(open, all[i + 1])
    else -- nobody has settled it, and nobody may: it was missed, and counts so from its own time on
      redis.call('HDEL', pending, all[i])
      limits_settled(limits, expire, 'expired', '')
    end
  end
  local read = limits_read(limits, now, session)
  local refused, until_ms = limits_refuse(read, now, session)
  if refused then
    return {refused, string.format('%d', until_ms)}
  end
  all = open
  for i = 1, #all, 2 do
    local _, other_portal, other_session = parse_pending(all[i + 1])
    if other_portal == portal and all[i] ~= supersede then
      local same = session ~= '' and other_session == session
      return {'pending', all[i], (same or ARGV[9] == '1') and 1 or 0, same and 1 or 0}
    end
  end
  if supersede and redis.call('HGET', KEYS[8], 'state') == 'pending' then
    redis.call('HSET', KEYS[8], 'state', 'superseded', 'settled', now)
    redis.call('HINCRBY', KEYS[8], 'revision', 1)
    redis.call('PEXPIRE', KEYS[8], keep)
    redis.call('HDEL', pending, supersede)
    limits_settled(limits, now, 'superseded', '')
    redis.call('HSET', challenge, 'superseded', supersede)
    superseded = supersede
  end
  expires = string.format('%d', now + life)
  local fields = {'record', record, 'state', 'pending', 'revision', 1, 'created', now, 'expires', expires,
    'session', session, 'attempt', 1, 'sent', now, 'attached', count_attached(routes)}
  if ARGV[10] ~= '' then
    fields[#fields + 1] = 'w:' .. ARGV[10]
    fields[#fields + 1] = 1
  end
  redis.call('HSET', challenge, unpack(fields))
  redis.call('PEXPIRE', challenge, life + keep)
  redis.call('HSET', pending, id, string.format('%s %d %s %s', expires, needed, portal, session))
  redis.call('PEXPIRE', pending, 3600000)
  limits_count_push(limits, read, now)
  if asked ~= '' then
    redis.call('SET', idempotency, id .. ' ' .. asked, 'PX', 600000)
  end
end
local took_place = supersede and superseded == supersede -- now, or in a call whose reply was lost
return {'ok', tostring(now), expires, routes, took_place and waiters(KEYS[8]) or {}, took_place and 1 or 0,
  took_place and device_routes(devices, presence) or {}, again and 0 or 1}
