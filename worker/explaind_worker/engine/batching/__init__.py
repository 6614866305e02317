"""Batches that fit the memory: limits, estimates, back-off, cost, dry runs."""
