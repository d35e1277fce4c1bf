-- Accept a challenge: from the moment that this returns 'ok' it has exactly one outcome.
-- KEYS user, devices, presence, pending, challenge, idempotency [, challenge to supersede]
-- ARGV id, record, life ms, kept ms after that, portal, browser session, idempotency ('' for none: what is asked for)
--      [, id to supersede]
-- -> {'ok', now, expiry, {device id, presence, ...}, {inbox that waited for the superseded, ...}}
--    | {'replay', id} the idempotency key stands for that challenge | {'conflict'} it stands for another request
--    | {'no-user'} | {'no-device'} | {'pending', id, same session (1, 0)} another one of the portal waits
local user, devices, presence, pending, challenge, idempotency = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local id, record, life, keep = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local portal, session, asked, supersede = ARGV[5], ARGV[6], ARGV[7], ARGV[8]

if asked ~= '' then
  local known = redis.call('GET', idempotency)
  if known then
    local known_id, known_asked = string.match(known, '^(%S+) (.*)$')
    if known_asked ~= asked then
      return {'conflict'}
    elseif known_id ~= id then
      return {'replay', known_id}
    end
  end
end
if redis.call('EXISTS', user) == 0 then
  return {'no-user'}
end
local routes = device_routes(devices, presence)
if #routes == 0 then
  return {'no-device'}
end

local now, told = now_ms(), {}
if redis.call('HGET', challenge, 'record') ~= record then
  local all = redis.call('HGETALL', pending)
  for i = 1, #all, 2 do
    local expire, other_portal, other_session = parse_pending(all[i + 1])
    if expire <= now then
      redis.call('HDEL', pending, all[i])
    elseif other_portal == portal and all[i] ~= supersede then
      return {'pending', all[i], (session ~= '' and other_session == session) and 1 or 0}
    end
  end
  if supersede and redis.call('HGET', KEYS[7], 'state') == 'pending' then
    redis.call('HSET', KEYS[7], 'state', 'superseded', 'settled', now)
    redis.call('HINCRBY', KEYS[7], 'revision', 1)
    redis.call('PEXPIRE', KEYS[7], keep)
    redis.call('HDEL', pending, supersede)
    told = waiters(KEYS[7])
  end
  redis.call('HSET', challenge, 'record', record, 'state', 'pending', 'revision', 1, 'created', now,
    'expires', now + life)
  redis.call('PEXPIRE', challenge, life + keep)
  redis.call('HSET', pending, id, string.format('%d %s %s', now + life, portal, session))
  redis.call('PEXPIRE', pending, 3600000)
  if asked ~= '' then
    redis.call('SET', idempotency, id .. ' ' .. asked, 'PX', 600000)
  end
end
return {'ok', tostring(now), redis.call('HGET', challenge, 'expires'), routes, told}
