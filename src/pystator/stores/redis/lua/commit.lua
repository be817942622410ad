-- KEYS 1 the entity (in a cluster also 2, which is never there). ARGV: see write.lua; the commit
-- stands there from 6 on.

return write(KEYS[1], 6)
