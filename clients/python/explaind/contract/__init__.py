"""What travels between client, service and worker, defined once.

Everything here is plain data (pydantic models) and pure functions: no HTTP, no Redis, no torch.
"""
