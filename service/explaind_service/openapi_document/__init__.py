"""Shortens FastAPI's OpenAPI document: equal parts are shared, and schemas inherit as the classes do."""
