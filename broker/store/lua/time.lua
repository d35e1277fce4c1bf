-- Redis' own clock, in milliseconds: the only one that decides. Callers pass durations. Tests put another file in this
-- one's place (tests/unit/virtual_time.lua) and nothing else.
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
