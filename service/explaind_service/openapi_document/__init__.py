"""Makes FastAPI's OpenAPI document short: equal parts stand once, and schemas inherit as the classes do."""
