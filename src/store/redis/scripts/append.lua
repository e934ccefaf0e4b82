-- Appends blocks that follow on what is there, or nothing, and says how many there are.
-- KEYS: state, log, aliases, streams of the client, and each new alias.
-- ARGV: node, epoch, how many blocks are expected, time of the claim, retention, bytes of a stream, id, end, whether there is anything
-- to be known, that, whether there is a request, that, and each block.
local had = redis.call('HMGET', KEYS[1], 'epoch', 'node', 'over', 'blocks', 'end', 'bytes', 'kept')
if not had[1] then return {'unknown'} end
if had[1] ~= ARGV[2] or had[2] ~= ARGV[1] then return {'claimed', had[1]} end
if had[3] then return {'over'} end
local blocks = tonumber(had[4])
if redis.call('XLEN', KEYS[2]) < blocks then
  -- The server has let the log go for want of memory.
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
  return {'unknown'}
end
if blocks ~= tonumber(ARGV[3]) then return {'conflict', blocks} end
if had[5] then return {'ended'} end

-- Of what was there before, no byte is counted any longer.
local function instead(is_given, name, value)
  if is_given ~= '1' then return 0 end
  return #value - #(redis.call('HGET', KEYS[1], name) or '')
end
local bytes = tonumber(had[6]) + instead(ARGV[9], 'about', ARGV[10]) + instead(ARGV[11], 'request', ARGV[12])
for block = 13, #ARGV do bytes = bytes + #ARGV[block] end
for alias = 5, #KEYS do bytes = bytes + #KEYS[alias] end
local now, retention = clock(), tonumber(ARGV[5])
if bytes > tonumber(ARGV[6]) then
  redis.call('HSET', KEYS[1], 'over', 1)
  redis.call('XTRIM', KEYS[2], 'MAXLEN', 0)
  redis.call('XADD', KEYS[2], blocks .. '-2', 'over', 1)
  keep(now, nil, retention)
  return {'over'}
end

local is_first = blocks == 0
for block = 13, #ARGV do
  blocks = blocks + 1
  redis.call('XADD', KEYS[2], blocks .. '-0', 'block', ARGV[block])
end
for alias = 5, #KEYS do
  redis.call('SET', KEYS[alias], ARGV[7])
  if redis.call('SADD', KEYS[3], KEYS[alias]) == 0 then bytes = bytes - #KEYS[alias] end
end
local fields = {'blocks', blocks, 'bytes', bytes, 'until', now + ARGV[4]}
local function set(name, value)
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
if ARGV[9] == '1' then set('about', ARGV[10]) end
if ARGV[11] == '1' then set('request', ARGV[12]) end
if ARGV[8] ~= '' then
  set('end', ARGV[8])
  redis.call('XADD', KEYS[2], blocks .. '-1', 'end', ARGV[8])
end
redis.call('HSET', KEYS[1], unpack(fields))
local kept = had[7]
if is_first or #KEYS > 4 or ARGV[8] ~= '' then kept = nil end
keep(now, kept, retention)
return blocks
