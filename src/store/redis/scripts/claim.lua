-- Becomes the writer of a stream, or goes on being it.
-- KEYS: state, log, aliases, streams of the client.
-- ARGV: node, epoch, time of the claim, retention, id, how many streams are listed, inbox, whether new streams are taken.
local now = clock()
local had = redis.call('HMGET', KEYS[1], 'epoch', 'node', 'until', 'end', 'removed', 'kept')
if had[5] then return {'removed'} end
if had[1] then
  if had[1] ~= ARGV[2] or had[2] ~= ARGV[1] then
    if had[4] then return {'ended'} end
    if now < tonumber(had[3]) or ARGV[2] <= had[1] then return {'claimed', had[1]} end
  end
elseif ARGV[8] == '0' then
  return {'full'}
else
  -- What the server lost but for the log is written anew.
  redis.call('DEL', KEYS[2], KEYS[3])
  redis.call('HSET', KEYS[1], 'blocks', 0, 'bytes', 0)
  redis.call('ZADD', KEYS[4], now, ARGV[5])
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -ARGV[6] - 1)
end
-- One that is released says so: 0.
local till = ARGV[3] == '0' and 0 or now + ARGV[3]
redis.call('HSET', KEYS[1], 'node', ARGV[1], 'epoch', ARGV[2], 'until', till, 'inbox', ARGV[7])
if not had[4] then keep(now, had[6], tonumber(ARGV[4])) end
return 0
