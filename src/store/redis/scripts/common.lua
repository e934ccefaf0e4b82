-- Milliseconds of the server's clock.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Puts off when the stream goes away, unless that was done within a sixteenth of its time: by so much it may be kept longer.
-- KEYS: state, log, aliases, streams of the client.
local function keep(now, kept, retention)
  if kept and now < tonumber(kept) then return end
  local sixteenth = math.ceil(retention / 16)
  local ttl = retention + sixteenth
  for key = 1, 4 do redis.call('PEXPIRE', KEYS[key], ttl) end
  for _, alias in ipairs(redis.call('SMEMBERS', KEYS[3])) do redis.call('PEXPIRE', alias, ttl) end
  redis.call('HSET', KEYS[1], 'kept', now + sixteenth)
end
