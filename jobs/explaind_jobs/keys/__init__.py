"""API keys: made and revoked by a command, shown by callers, kept in Redis without the keys themselves."""
