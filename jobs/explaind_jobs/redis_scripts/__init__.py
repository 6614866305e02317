"""How Redis is reached, and the Lua scripts that are its only writers."""
