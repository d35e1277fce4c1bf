-- The one place where a pending challenge ends, but for a newer one that takes its place (challenge_create).
-- MOVES, the table of legal moves, is made from store/challenge_state.def and stands before this.
-- KEYS challenge, pending, devices, presence, limits [, enrolment that it asks about]
-- ARGV id, record (fence), state wanted, kept ms, device id or '', head of the device's value (fence) or '',
--      settlement (sealed) or '', this very call: the same when it is sent again because its reply was lost
-- -> {'moved' or 'already', state, settlement or '', {device id, presence, ...}, {inbox, ...}, locked until or '',
--     {id of another pending one that the lock ends, ...}}
--    | {'gone'} | {'early'} not expired yet | {'device'} the device is not what C verified
-- What a lock asks for is said to the call that brought it, to the same call sent again, and to the same answer again:
-- whoever did not hear the first reply has told nobody.
local challenge, pending, devices, presence, limits = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, record, wanted, keep = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local device_id, head, settlement, call = ARGV[5], ARGV[6], ARGV[7], ARGV[8]

local c = redis.call('HMGET', challenge, 'record', 'state', 'expires', 'settlement', 'session', 'created', 'settled_by')
if c[1] ~= record then
  return {'gone'}
end
local function outcome(how, state, by, locks)
  local lock = locks and redis.call('HMGET', challenge, 'locked_until', 'lock_ends') or {}
  local others = {}
  for other in string.gmatch(lock[2] or '', '%S+') do
    others[#others + 1] = other
  end
  return {how, state, by, device_routes(devices, presence), waiters(challenge), lock[1] or '', others}
end
if not (MOVES[c[2]] and MOVES[c[2]][wanted]) then
  local again = c[7] == call
  return outcome(again and 'moved' or 'already', c[2], c[4] or '', again or (settlement ~= '' and c[4] == settlement))
end
if device_id ~= '' then
  local device = redis.call('HGET', devices, device_id)
  if not is_active(device) or string.sub(device, 1, #head) ~= head then
    return {'device'}
  end
end
local now = now_ms()
local over = now >= tonumber(c[3])
if wanted == 'expired' and not over then
  return {'early'}
end
local withdrawn = false
if KEYS[6] and device_id ~= '' then
  local e = redis.call('HMGET', KEYS[6], 'state', 'expires')
  withdrawn = e[1] ~= 'to-approve' or now >= tonumber(e[2])
end
if over then
  wanted, settlement = 'expired', '' -- too late for whatever else was wanted
elseif withdrawn then
  wanted, settlement = 'cancelled', '' -- the phone that it asked about has nothing to wait for any more
elseif wanted == 'approved' and limits_number(limits, 'locked_at') >= tonumber(c[6]) then
  wanted, settlement = 'cancelled', '' -- push was locked since: what was pending then is over
end
redis.call('HSET', challenge, 'state', wanted, 'settled', now, 'settled_by', call)
if settlement ~= '' then
  redis.call('HSET', challenge, 'settlement', settlement)
end
redis.call('HINCRBY', challenge, 'revision', 1)
redis.call('PEXPIRE', challenge, keep)
local was_pending = redis.call('HDEL', pending, id) == 1
local locked_until = 0
if was_pending or wanted ~= 'expired' then -- else challenge_create has counted it as missed
  locked_until = limits_settled(limits, wanted == 'expired' and tonumber(c[3]) or now, wanted, c[5] or '')
end
if locked_until > 0 then
  redis.call('HSET', challenge, 'locked_until', string.format('%d', locked_until), 'lock_ends',
    table.concat(redis.call('HKEYS', pending), ' '))
end
return outcome('moved', wanted, settlement, true)
