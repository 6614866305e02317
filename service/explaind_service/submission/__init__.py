"""From a validated request to a stored job: limits, known answers, waiting for the end."""
