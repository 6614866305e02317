-- id… (none: all) → {pepper fingerprint, or '' if no key was ever made, row…}; a row is the id, the state, and FIELDS
local FIELDS = { 'mac', 'name', 'scopes', 'created', 'expires', 'revoked', 'requests_per_minute', 'burst', 'max_queued',
  'max_running' }
local ids, t = ARGV, now()
if #ids == 0 then ids = redis.call('SMEMBERS', P .. 'apikeys') end
local out = { redis.call('GET', P .. 'access') or '' }
for _, id in ipairs(ids) do
  local h = redis.call('HMGET', P .. 'apikey:' .. id, unpack(FIELDS))
  if h[1] then
    local row = { id, h[6] and 'revoked' or h[5] and tonumber(h[5]) <= t and 'expired' or 'active' }
    for i = 1, #FIELDS do row[i + 2] = h[i] or '' end
    out[#out + 1] = row
  end
end
return out
