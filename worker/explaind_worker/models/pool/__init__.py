"""The models in memory: pool, pins, memory ledger and budget, timing."""
