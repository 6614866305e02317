"""ASGI middleware: request context, authentication, metrics, trace context."""
