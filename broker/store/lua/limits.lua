-- What keeps somebody who knows the password from wearing the user down, without locking the user out (SECURITY, "Push
-- bombing"). One hash a user, across all portals of the organisation:
--   locked_at, locked_until  push is locked: one "not me", two wrong numbers or three denials within RECENT_MS
--   not_before               backoff: after denials DELAY_MIN_MS doubling to DENIED_MAX_MS, after misses to MISSED_MAX_MS;
--                            likewise after those that the portal took back or replaced, but for the first one: whoever
--                            closes a page and begins anew does not wait
--   denied, missed, withdrawn  how many in a row since the last approval
--   denials, failures        when the last ones were, 'ms ms ms'
--   day, pushes              pushes since the last approval within the day that began at day
--   lifted_by                the call that lifted last what stood here
--   s:<browser session>      when that session last succeeded: it is exempt from backoff and the daily count
-- Time-outs and what was taken back never lock. An approval resets all but the sessions.
local LOCK_MS, RECENT_MS, DAY_MS = 900000, 600000, 86400000
local DELAY_MIN_MS, DENIED_MAX_MS, MISSED_MAX_MS = 10000, 3600000, 60000
local PUSHES_A_DAY, DENIALS_TO_LOCK, FAILURES_TO_LOCK = 20, 3, 2
local SESSIONS_MAX, KEPT_MS = 32, 30 * DAY_MS

local function limits_number(limits, field)
  return tonumber(redis.call('HGET', limits, field) or '0')
end

-- What decides about a push, as numbers; pushes are those of the day that is running, 0 when a new one has begun.
local function limits_read(limits, now, session)
  local fields = redis.call('HMGET', limits, 'locked_until', 'not_before', 'day', 'pushes', 's:' .. session)
  local read = {}
  for i, name in ipairs({'locked_until', 'not_before', 'day', 'pushes', 'session'}) do
    read[name] = tonumber(fields[i] or '0')
  end
  if now >= read.day + DAY_MS then
    read.day, read.pushes = now, 0
  end
  return read
end

-- Until when push is locked; 0 where it is not.
local function limits_locked_until(read, now)
  if now < read.locked_until then
    return read.locked_until
  end
  return read.pushes >= PUSHES_A_DAY and read.day + DAY_MS or 0
end

-- Why a push must not be sent now: 'locked' or 'backoff', and until when; nil where nothing speaks against it.
local function limits_refuse(read, now, session)
  if now < read.locked_until then
    return 'locked', read.locked_until
  end
  if session ~= '' and read.session > now - KEPT_MS then
    return nil
  end
  local locked_until = limits_locked_until(read, now)
  if locked_until > 0 then
    return 'locked', locked_until
  end
  if now < read.not_before then
    return 'backoff', read.not_before
  end
end

local function limits_count_push(limits, read, now)
  redis.call('HSET', limits, 'day', read.pushes == 0 and now or read.day, 'pushes', read.pushes + 1)
  redis.call('PEXPIRE', limits, KEPT_MS)
end

-- Note that it happened now; how often it did within RECENT_MS.
local function limits_note(limits, now, field)
  local recent = {}
  for time in string.gmatch(redis.call('HGET', limits, field) or '', '%d+') do
    if tonumber(time) > now - RECENT_MS then
      recent[#recent + 1] = time
    end
  end
  recent[#recent + 1] = string.format('%d', now)
  redis.call('HSET', limits, field, table.concat(recent, ' '))
  return #recent
end

-- -> how much there was to clear
local function limits_clear(limits)
  return redis.call('HDEL', limits, 'locked_at', 'locked_until', 'not_before', 'denied', 'missed', 'withdrawn', 'denials',
    'failures', 'day', 'pushes')
end

local function limits_remember_session(limits, now, session)
  local count, oldest, oldest_ms = 0, nil, now
  local all = redis.call('HGETALL', limits)
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 's:' then
      count = count + 1
      if tonumber(all[i + 1]) < oldest_ms then
        oldest, oldest_ms = all[i], tonumber(all[i + 1])
      end
    end
  end
  if count >= SESSIONS_MAX and oldest then
    redis.call('HDEL', limits, oldest)
  end
  redis.call('HSET', limits, 's:' .. session, now)
  redis.call('PEXPIRE', limits, KEPT_MS)
end

-- One more of a streak, of which so many are free: a delay never makes one that is running shorter.
local function limits_back_off(limits, now, field, most, free)
  local streak = redis.call('HINCRBY', limits, field, 1) - free
  if streak > 0 then
    local not_before = now + math.min(DELAY_MIN_MS * 2 ^ math.min(streak - 1, 20), most)
    redis.call('HSET', limits, 'not_before', math.max(not_before, limits_number(limits, 'not_before')))
  end
  redis.call('PEXPIRE', limits, KEPT_MS)
end

-- A challenge became final. -> until when push is locked by it, or 0
local function limits_settled(limits, now, state, session)
  local lock = false
  if state == 'approved' then
    limits_clear(limits)
    if session ~= '' then
      limits_remember_session(limits, now, session)
    end
  elseif state == 'denied' then
    limits_back_off(limits, now, 'denied', DENIED_MAX_MS, 0)
    lock = limits_note(limits, now, 'denials') >= DENIALS_TO_LOCK
  elseif state == 'failed' then
    lock = limits_note(limits, now, 'failures') >= FAILURES_TO_LOCK
  elseif state == 'reported' then
    lock = true
  elseif state == 'expired' then
    limits_back_off(limits, now, 'missed', MISSED_MAX_MS, 0)
  elseif state == 'cancelled' or state == 'superseded' then
    limits_back_off(limits, now, 'withdrawn', MISSED_MAX_MS, 1)
  end
  if not lock then
    return 0
  end
  redis.call('HSET', limits, 'locked_at', now, 'locked_until', now + LOCK_MS)
  redis.call('PEXPIRE', limits, KEPT_MS)
  return now + LOCK_MS
end
