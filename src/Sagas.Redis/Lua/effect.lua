-- Around a service's own script: its effect and the barrier row that says so are one. The service's script stands where EFFECT stands.
-- KEYS 1 row, 2 turn, then the service's. ARGV 1 token, 2 the second phase's number ('': Try or Do), 3 how long a settled row is kept in ms, then the service's.
-- Answers {'ok', result}, {'refused', code, message} or {'lost'}: another process has the turn, or the step was turned back; nothing was done.
-- A row is its version, Forward, IsDo, InDoubt, Second, SecondDone, eight bytes of time, then texts after their lengths (-1: none):
-- saga, step, command, its payload, result, code, message, second result.
local second = tonumber(ARGV[2])
local row = redis.call('GET', KEYS[1])
if not row or redis.call('GET', KEYS[2]) ~= ARGV[1] then return {'lost'} end
local forward, isDo, phase, done = string.byte(row, 2), string.byte(row, 3), string.byte(row, 5), string.byte(row, 6)
local function text(number)
  local at = 15
  for _ = 2, number do at = at + 4 + math.max(0, (struct.unpack('<i4', row, at))) end
  local length = struct.unpack('<i4', row, at)
  return length < 0 and '' or string.sub(row, at + 4, at + 3 + length)
end
local function packed(value) return struct.pack('<i4', #value) .. value end
local none = '\255\255\255\255'
if second then
  if phase ~= second then return {'lost'} end
  if done == 1 then return {'ok', text(8)} end
else
  if phase ~= 255 then return {'lost'} end
  if forward == 2 then return {'ok', text(5)} end
  if forward == 3 then return {'refused', text(6), text(7)} end
end

local function refuse(code, message) return {code = code, message = message} end
local function effect(KEYS, ARGV)
--EFFECT--
end
local keys, values = {}, {}
for i = 3, #KEYS do keys[i - 2] = KEYS[i] end
for i = 4, #ARGV do values[i - 3] = ARGV[i] end
local result = effect(keys, values)

local settled = second or isDo == 1
local answer
if type(result) == 'table' then
  answer = {'refused', result.code, result.message}
  -- A refused second phase is not remembered: it is asked anew.
  if second then return answer end
  row, settled = string.sub(row, 1, 1) .. '\3' .. string.sub(row, 3, -17) .. none .. packed(result.code) .. packed(result.message) .. none, true
else
  result = result and tostring(result) or 'null'
  -- What is no JSON is a text: the effect has happened, and its note must be one that can be read.
  if not pcall(cjson.decode, result) then result = cjson.encode(result) end
  answer = {'ok', result}
  if second then row = string.sub(row, 1, 5) .. '\1' .. string.sub(row, 7, -5) .. packed(result)
  else row = string.sub(row, 1, 1) .. '\2' .. string.sub(row, 3, -17) .. packed(result) .. none .. none .. none end
end
if settled then redis.call('SET', KEYS[1], row, 'PX', ARGV[3]) else redis.call('SET', KEYS[1], row) end
return answer
