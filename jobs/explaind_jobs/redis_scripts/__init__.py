"""Redis connection, and the Lua scripts that are its only writers."""
