"""Model pool: models in memory, pins, memory ledger and budget, timing."""
