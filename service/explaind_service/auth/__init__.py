"""Authentication and authorization: API keys, scopes, cross-site checks."""
