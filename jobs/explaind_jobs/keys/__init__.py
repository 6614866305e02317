"""API keys: created and revoked by a command, sent by callers; Redis holds only their MACs."""
