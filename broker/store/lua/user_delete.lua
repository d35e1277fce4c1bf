-- Delete a user: from here on no phone of it answers, no enrolment of it makes one. What else is open comes back, to be
-- ended one by one; a repeat goes on where that was cut off.
-- KEYS user, devices, presence, pending, limits, enrolments
-- -> {existed (1, 0), {device id, presence, ...}, {pending challenge id, ...}, {open enrolment id, ...}}
local user, devices, presence, pending, limits, enrolments = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

local existed = redis.call('EXISTS', user)
local routes = device_routes(devices, presence)
redis.call('DEL', user, devices, presence, limits)
return {existed, routes, redis.call('HKEYS', pending), redis.call('HKEYS', enrolments)}
