"""Logs, log context and tracing, shared by service and worker."""
