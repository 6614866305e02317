"""Messages between client, service and worker, defined once.

All modules are plain data (pydantic models) and pure functions: no HTTP, no Redis, no torch.
"""
