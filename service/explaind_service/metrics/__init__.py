"""Prometheus metrics: one table of names, sources of their values, exposition."""
