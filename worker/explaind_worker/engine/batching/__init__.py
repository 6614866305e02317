"""Batch limits, memory estimate, cost, out-of-memory handling and dry runs of forwards."""
