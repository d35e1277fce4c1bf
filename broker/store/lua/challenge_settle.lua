-- The one place where a pending challenge ends, but for a newer one that takes its place (challenge_create).
-- MOVES, the table of legal moves, is made from store/challenge_state.def and stands before this.
-- KEYS challenge, pending, devices, presence, limits [, enrolment that it asks about]
-- ARGV id, record (fence), state wanted, kept ms, device id or '', head of the device's value (fence) or '',
--      settlement (sealed) or '', this very call: the same when it is sent again because its reply was lost
--      how far phones say that they are: see SAID; '' for none
-- -> {'moved' or 'already', view of what it is then, {device id, presence, ...}, {inbox, ...}, locked until or '',
--     {id of another pending one that the lock ends, ...}}
--    | {'gone'} | {'early'} not expired yet | {'device'} the device is not what C verified
-- What a lock asks for is said to the call that brought it, to the same call sent again, and to the same answer again:
-- whoever did not hear the first reply has told nobody.
local challenge, pending, devices, presence, limits = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, record, wanted, keep = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local device_id, head, settlement, call = ARGV[5], ARGV[6], ARGV[7], ARGV[8]

local c = read_hash(challenge)
if c.record ~= record then
  return {'gone'}
end
local now, all_devices = now_ms(), redis.call('HGETALL', devices)
local function outcome(how, locks)
  local others, routes = {}, routes_of(all_devices, presence, 0)
  for other in string.gmatch(locks and c.lock_ends or '', '%S+') do
    others[#others + 1] = other
  end
  return {how, view_of(c, now), routes, waiters_of(c), locks and c.locked_until or '', others}
end
if not (MOVES[c.state] and MOVES[c.state][wanted]) then
  local again = c.settled_by == call
  return outcome(again and 'moved' or 'already', again or (settlement ~= '' and c.settlement == settlement))
end
if device_id ~= '' then
  local device = false
  for i = 1, #all_devices, 2 do
    device = all_devices[i] == device_id and all_devices[i + 1] or device
  end
  if not is_active(device) or string.sub(device, 1, #head) ~= head then
    return {'device'}
  end
end
local over = now >= tonumber(c.expires)
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
elseif withdrawn and wanted == 'approved' then
  wanted, settlement = 'cancelled', '' -- the new phone waits no more; who says no, or "not me", still counts
elseif wanted == 'approved' and limits_number(limits, 'locked_at') >= tonumber(c.created) then
  wanted, settlement = 'cancelled', '' -- push was locked since: what was pending then is over
end
local was_pending = redis.call('HDEL', pending, id) == 1
local locked_until = 0
if was_pending or wanted ~= 'expired' then -- else challenge_create has counted it as missed
  locked_until = limits_settled(limits, wanted == 'expired' and tonumber(c.expires) or now, wanted, c.session or '')
end
local written = {}
local function write(field, value)
  c[field] = value
  written[#written + 1] = field
  written[#written + 1] = value
end
write('state', wanted)
write('settled', now)
write('settled_by', call)
write('revision', tonumber(c.revision) + 1)
for phone, said in string.gmatch(ARGV[9], SAID) do
  local reached = progress_with(c['p:' .. phone], said, now)
  if reached then
    write('p:' .. phone, reached)
  end
end
if settlement ~= '' then
  write('settlement', settlement)
end
if locked_until > 0 then
  write('locked_until', string.format('%d', locked_until))
  write('lock_ends', table.concat(redis.call('HKEYS', pending), ' '))
end
redis.call('HSET', challenge, unpack(written))
redis.call('PEXPIRE', challenge, keep)
return outcome('moved', true)
