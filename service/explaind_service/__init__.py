"""The HTTP service: a validated request becomes a job in the queue, a finished job becomes an answer."""
