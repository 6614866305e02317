"""From a validated request to a stored job: limits, cache, waiting for the end."""
